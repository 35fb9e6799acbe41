//! trainyard: training as a service. A table in, a trained network out, over HTTP.
//!
//! The folders are the layers; an arrow only ever points down this list.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod crash_point;

pub mod cli;

pub mod api;

pub mod training;

pub mod serving;

pub mod store;

pub mod domain;

pub mod data;

pub mod formats;

pub mod nn;
