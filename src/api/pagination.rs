//! Pages of lists: `?limit=` and `?after=`, newest first.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use utoipa::openapi::schema::{Array, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::extract::{FromQuery, QueryReader};
use super::limits::Limits;
use crate::domain::page::{Page, PageRequest};

/// Which page of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery<Id: ToSchema> {
    /// The most items to answer with.
    #[param(required = false, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// The `next` of the page before.
    after: Option<Id>,
}

impl<Id: ToSchema + FromStr<Err: Display>> FromQuery for PageQuery<Id> {
    const NAMES: &'static [&'static str] = &["limit", "after"];

    fn read(query: &mut QueryReader, limits: &Limits) -> Self {
        let limit = query.integer("limit", 1..=limits.page_max.into());
        Self {
            limit: limit.map_or(limits.page_default, |limit| limit as u32),
            after: query.parsed("after"),
        }
    }
}

impl<Id: ToSchema> From<PageQuery<Id>> for PageRequest<Id> {
    fn from(query: PageQuery<Id>) -> Self {
        Self {
            limit: query.limit,
            after: query.after,
        }
    }
}

/// One page of a list, newest first.
#[derive(Serialize)]
pub(super) struct List<T> {
    data: Vec<T>,
    /// What to send as `after` for the next page; null on the last.
    next: Option<String>,
}

impl<T> List<T> {
    /// The page, each of its items as clients see it.
    pub(super) fn of<Item, Id: Display>(page: Page<Item, Id>, view: impl FnMut(Item) -> T) -> Self {
        Self {
            data: page.items.into_iter().map(view).collect(),
            next: page.next.map(|id| id.to_string()),
        }
    }
}

/// By hand, because the derived schema of a generic type repeats that of its items instead of naming it.
impl<T: ToSchema> PartialSchema for List<T> {
    fn schema() -> RefOr<Schema> {
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("What to send as `after` for the next page; null on the last."));
        ObjectBuilder::new()
            .property("data", Array::new(Ref::from_schema_name(T::name())))
            .required("data")
            .property("next", next)
            .required("next")
            .into()
    }
}

impl<T: ToSchema> ToSchema for List<T> {
    fn name() -> Cow<'static, str> {
        format!("{}List", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}
