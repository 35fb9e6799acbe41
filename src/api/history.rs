//! A job's history: the figures of its epochs as columns, as CSV, and drawn.

use std::io::{self, Write};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::{Serialize, Serializer};
use tokio::runtime::Handle;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, Array, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::AppState;
use super::blocking::in_turn;
use super::curve;
use super::error::ApiError;
use super::extract::{Id, Tenant};
use super::written::written;
use crate::domain::event::EpochRow;
use crate::domain::id::JobId;
use crate::domain::problem::Problem;
use crate::domain::tenant::TenantId;
use crate::store::{Store, StoreError};

/// A history of no more epochs is read and written where the request arrived, in about a millisecond. A longer one waits
/// for a turn on a thread of its own, so that it doesn't hold up others, nor many of them fill the memory.
const QUICK_EPOCHS: u32 = 500;

/// Epochs read from the store at a time.
const PAGE_EPOCHS: u32 = 10_000;

/// The figures of a job's epochs, a column each, all of the same length.
#[derive(Debug, Default)]
pub(super) struct History {
    epochs: Vec<u32>,
    /// In the order they are shown; a figure that was not finite is `None`.
    columns: Vec<(String, Vec<Option<f64>>)>,
}

impl History {
    async fn read(store: &Store, tenant: &TenantId, id: JobId) -> Result<Self, StoreError> {
        let mut history = Self::default();
        loop {
            let after = history.epochs.last().copied().unwrap_or(0);
            let rows = store.history(tenant, id, after, PAGE_EPOCHS).await?;
            if rows.is_empty() {
                return Ok(history);
            }
            rows.into_iter().for_each(|row| history.push(row));
        }
    }

    fn push(&mut self, row: EpochRow) {
        let done = self.epochs.len();
        self.epochs.push(row.epoch);
        for (name, figure) in row.figures {
            let known = self.columns.iter().position(|(known, _)| *known == name);
            let place = known.unwrap_or_else(|| {
                self.columns.push((name, vec![None; done]));
                self.columns.len() - 1
            });
            self.columns[place].1.push(figure);
        }
        for (_, figures) in &mut self.columns {
            figures.resize(done + 1, None);
        }
    }

    /// A header and a line an epoch; nothing in it needs quotes, for figures are named by the server.
    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "epoch")?;
        for (name, _) in &self.columns {
            write!(out, ",{name}")?;
        }
        for (index, epoch) in self.epochs.iter().enumerate() {
            write!(out, "\n{epoch}")?;
            for (_, figures) in &self.columns {
                match figures[index] {
                    Some(figure) => write!(out, ",{figure:?}")?,
                    None => write!(out, ",")?,
                }
            }
        }
        writeln!(out)
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        Ok(serde_json::to_writer(out, self)?)
    }

    fn write_svg(&self, out: &mut dyn Write) -> io::Result<()> {
        let losses = self
            .columns
            .iter()
            .filter(|(name, _)| name == "loss" || name == "val_loss");
        let lines: Vec<curve::Line> = losses.map(|(name, figures)| curve::Line { name, figures }).collect();
        out.write_all(curve::draw(&self.epochs, &lines).as_bytes())
    }
}

impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Column<'a> {
            Epochs(&'a [u32]),
            Figures(&'a [Option<f64>]),
        }
        let epochs = std::iter::once(("epoch", Column::Epochs(&self.epochs)));
        let figures = self
            .columns
            .iter()
            .map(|(name, figures)| (name.as_str(), Column::Figures(figures)));
        serializer.collect_map(epochs.chain(figures))
    }
}

impl PartialSchema for History {
    fn schema() -> RefOr<Schema> {
        let epochs = Array::new(ObjectBuilder::new().schema_type(Type::Integer));
        let figure = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Number, Type::Null]));
        ObjectBuilder::new()
            .description(Some(
                "The figures of a job's epochs: loss, metrics, and their val_ counterparts, an array each.",
            ))
            .property("epoch", epochs)
            .required("epoch")
            .additional_properties(Some(AdditionalProperties::<Schema>::RefOr(Array::new(figure).into())))
            .examples([serde_json::json!({"epoch": [1, 2], "loss": [1.02, 0.83], "accuracy": [0.41, 0.62]})])
            .into()
    }
}

impl ToSchema for History {}

/// What `write` makes of a job's history.
async fn body(
    state: AppState,
    tenant: TenantId,
    id: JobId,
    write: fn(&History, &mut dyn Write) -> io::Result<()>,
) -> Result<Body, ApiError> {
    let job = state.store.get_job(&tenant, id).await?;
    let job = job.ok_or_else(|| Problem::not_found("job"))?;
    if job.progress.epoch <= QUICK_EPOCHS {
        let history = History::read(&state.store, &tenant, id).await?;
        let mut text = Vec::new();
        write(&history, &mut text).map_err(Problem::internal)?;
        return Ok(text.into());
    }
    let turn = state.table_readers.enter().await?;
    in_turn(turn, move || {
        // Here and not before, for most of the work is to decode the epochs.
        let history = Handle::current().block_on(History::read(&state.store, &tenant, id))?;
        written(&state.store, |out| Ok(write(&history, out).map_err(StoreError::from)?))
    })
    .await
}

/// Get a job's history
///
/// Its figures epoch by epoch, a column each; while it trains, so far. A figure that was not finite is null.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/history",
    tag = "jobs",
    params(("id" = JobId, Path)),
    responses(
        (status = 200, description = "The columns.", body = History),
        (status = 404, description = "There is no such job."),
        (status = 503, description = "As many long histories wait as may; send it again when Retry-After is over."),
    ),
)]
pub(super) async fn get_job_history(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Response, ApiError> {
    let body = body(state, tenant, id, History::write_json).await?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Get a job's history as CSV
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/history.csv",
    tag = "jobs",
    params(("id" = JobId, Path)),
    responses(
        (status = 200, description = "A line an epoch.", body = String, content_type = "text/csv"),
        (status = 404, description = "There is no such job."),
        (status = 503, description = "As many long histories wait as may; send it again when Retry-After is over."),
    ),
)]
pub(super) async fn get_job_history_csv(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Response, ApiError> {
    let body = body(state, tenant, id, History::write_csv).await?;
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}-history.csv\""),
        ),
    ];
    Ok((headers, body).into_response())
}

/// Draw a job's history
///
/// The loss, and the validation loss where there is one, epoch by epoch, as a picture.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/history.svg",
    tag = "jobs",
    params(("id" = JobId, Path)),
    responses(
        (status = 200, description = "The curve.", body = String, content_type = "image/svg+xml"),
        (status = 404, description = "There is no such job."),
        (status = 503, description = "As many long histories wait as may; send it again when Retry-After is over."),
    ),
)]
pub(super) async fn get_job_history_svg(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Response, ApiError> {
    let body = body(state, tenant, id, History::write_svg).await?;
    Ok(([(CONTENT_TYPE, "image/svg+xml")], body).into_response())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Figures<'a> = &'a [(&'a str, Option<f64>)];

    fn history(rows: &[(u32, Figures<'_>)]) -> History {
        let mut history = History::default();
        for (epoch, figures) in rows {
            let figures = figures
                .iter()
                .map(|(name, figure)| ((*name).to_owned(), *figure))
                .collect();
            history.push(EpochRow { epoch: *epoch, figures });
        }
        history
    }

    fn text_of(history: &History) -> String {
        let mut csv = Vec::new();
        history.write_csv(&mut csv).unwrap();
        String::from_utf8(csv).unwrap()
    }

    #[test]
    fn rows_become_columns_of_one_length() {
        let history = history(&[
            (1, &[("loss", Some(1.5)), ("accuracy", Some(0.25))]),
            (2, &[("loss", None), ("accuracy", Some(0.5)), ("val_loss", Some(1e-7))]),
            (3, &[("loss", Some(0.1))]),
        ]);
        let columns = json!({
            "epoch": [1, 2, 3], "loss": [1.5, null, 0.1], "accuracy": [0.25, 0.5, null], "val_loss": [null, 1e-7, null],
        });
        assert_eq!(serde_json::to_value(&history).unwrap(), columns);
        let csv = "epoch,loss,accuracy,val_loss\n1,1.5,0.25,\n2,,0.5,1e-7\n3,0.1,,\n";
        assert_eq!(text_of(&history), csv);
    }

    #[test]
    fn a_job_without_epochs_has_an_empty_history() {
        assert_eq!(serde_json::to_value(history(&[])).unwrap(), json!({"epoch": []}));
        assert_eq!(text_of(&history(&[])), "epoch\n");
    }
}
