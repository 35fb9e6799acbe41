//! Jobs from submission to model over a real store in a temporary folder, without HTTP.

mod failures;
mod interruptions;
mod keras_sessions;
mod learning;
mod predictions;
mod sessions;
mod yard;
