//! A job's history: the figures of its epochs as columns, as CSV, and drawn.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, Array, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::AppState;
use super::curve;
use super::error::ApiError;
use super::extract::{Id, Tenant};
use crate::domain::event::EpochRow;
use crate::domain::id::JobId;
use crate::domain::problem::Problem;
use crate::domain::tenant::TenantId;

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
    async fn read(state: &AppState, tenant: &TenantId, id: JobId) -> Result<Self, ApiError> {
        let job = state.store.get_job(tenant, id).await?;
        job.ok_or_else(|| Problem::not_found("job"))?;
        let mut history = Self::default();
        loop {
            let after = history.epochs.last().copied().unwrap_or(0);
            let rows = state.store.history(tenant, id, after, PAGE_EPOCHS).await?;
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
    fn to_csv(&self) -> String {
        let mut csv = String::from("epoch");
        for (name, _) in &self.columns {
            csv.push(',');
            csv.push_str(name);
        }
        for (index, epoch) in self.epochs.iter().enumerate() {
            csv.push_str(&format!("\n{epoch}"));
            for (_, figures) in &self.columns {
                let figure = figures[index].map_or_else(String::new, |figure| format!("{figure:?}"));
                csv.push(',');
                csv.push_str(&figure);
            }
        }
        csv.push('\n');
        csv
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
    ),
)]
pub(super) async fn get_job_history(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Json<History>, ApiError> {
    History::read(&state, &tenant, id).await.map(Json)
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
    ),
)]
pub(super) async fn get_job_history_csv(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Response, ApiError> {
    let history = History::read(&state, &tenant, id).await?;
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}-history.csv\""),
        ),
    ];
    Ok((headers, history.to_csv()).into_response())
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
    ),
)]
pub(super) async fn get_job_history_svg(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Response, ApiError> {
    let history = History::read(&state, &tenant, id).await?;
    let losses = history
        .columns
        .iter()
        .filter(|(name, _)| name == "loss" || name == "val_loss");
    let lines: Vec<curve::Line> = losses.map(|(name, figures)| curve::Line { name, figures }).collect();
    let picture = curve::draw(&history.epochs, &lines);
    Ok(([(CONTENT_TYPE, "image/svg+xml")], picture).into_response())
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
        assert_eq!(history.to_csv(), csv);
    }

    #[test]
    fn a_job_without_epochs_has_an_empty_history() {
        assert_eq!(serde_json::to_value(history(&[])).unwrap(), json!({"epoch": []}));
        assert_eq!(history(&[]).to_csv(), "epoch\n");
    }
}
