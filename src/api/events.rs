//! A job's events as a stream (server-sent events): what is stored, by number, and then what is stored next.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::{FromRequestParts, State};
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::AppState;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::Id;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::JobId;
use crate::domain::problem::{Kind, Problem};
use crate::store::StoreError;
use crate::training::Changes;

/// Events read from the store at a time.
const PAGE_EVENTS: u32 = 500;

/// The largest number an event can have: every JSON client keeps it exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Follow a job
///
/// Server-sent events: `epoch` with its figures, `status`, and last `done`, after which the stream ends. Their ids are the
/// numbers under which they are stored: a client that was cut off sends the last as `Last-Event-ID` and misses none. When
/// the server stops, the stream ends with a `shutdown` event; after its restart it can be followed further. When the key is
/// revoked, it ends.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/events",
    tag = "jobs",
    params(("id" = JobId, Path), LastEventId),
    responses(
        (status = 200, description = "The events from the first, or from the one after Last-Event-ID on.", body = String, content_type = "text/event-stream"),
        (status = 404, description = "There is no such job."),
    ),
)]
pub(super) async fn stream_job_events(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id<JobId>,
    LastEventId(last_number): LastEventId,
) -> Result<Response, ApiError> {
    let job = state.store.get_job(&caller.tenant, id).await?;
    let job = job.ok_or_else(|| Problem::not_found("job"))?;
    let full = |_| {
        ApiError::new(
            Kind::TooManyRequests,
            "Too many event streams are open; close one, or try again later.",
        )
    };
    let slot = state.event_streams.clone().try_acquire_owned().map_err(full)?;
    let keep_alive = KeepAlive::new().interval(state.limits.event_keep_alive);
    let events = Following {
        // Subscribed before the first look, so that nothing falls in between.
        changes: state.runner.changes(id),
        state,
        caller,
        id,
        last_number,
        is_over: job.status.is_final(),
        read: VecDeque::new(),
        ended: false,
        _slot: slot,
    };
    Ok(Sse::new(events.stream()).keep_alive(keep_alive).into_response())
}

/// The number of the last event that a client saw; 0 when it saw none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LastEventId(u64);

const LAST_EVENT_ID: &str = "last-event-id";

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(LAST_EVENT_ID) else {
            return Ok(Self(0));
        };
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.filter(|number| *number <= MAX_NUMBER).map(Self).ok_or_else(|| {
            let detail = format!("Last-Event-ID must be the id of an event of this stream, not {value:?}.");
            ApiError::new(Kind::MalformedRequest, detail)
        })
    }
}

impl IntoParams for LastEventId {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(MAX_NUMBER as i64));
        let header = ParameterBuilder::new()
            .name("Last-Event-ID")
            .parameter_in(ParameterIn::Header)
            .description(Some("The number of the last event that was seen."))
            .schema(Some(number));
        vec![header.build()]
    }
}

/// A client that follows a job.
struct Following {
    state: AppState,
    caller: Caller,
    id: JobId,
    changes: Changes,
    /// Of the last event read.
    last_number: u64,
    /// Whether all its events were stored before the first was read: a client that has seen them waits for nothing.
    is_over: bool,
    /// Read and not yet sent.
    read: VecDeque<Event>,
    ended: bool,
    _slot: OwnedSemaphorePermit,
}

impl Following {
    fn stream(self) -> impl Stream<Item = Result<SentEvent, Infallible>> {
        futures_util::stream::unfold(self, async |mut following| {
            let event = following.next().await?;
            Some((Ok(event), following))
        })
    }

    /// The next events that are stored; `None` when the client's key opens nothing any more.
    async fn read_page(&self) -> Result<Option<Vec<Event>>, StoreError> {
        let store = &self.state.store;
        if !self.caller.is_still_let_in(store).await? {
            return Ok(None);
        }
        let page = store.events_after(&self.caller.tenant, self.id, self.last_number, PAGE_EVENTS);
        Ok(Some(page.await?))
    }

    async fn next(&mut self) -> Option<SentEvent> {
        while !self.ended {
            if let Some(event) = self.read.pop_front() {
                self.ended = event.kind == EventKind::Done;
                return Some(sent(&event));
            }
            match self.read_page().await {
                Ok(Some(page)) => self.read.extend(page),
                Ok(None) => return None,
                Err(error) => {
                    // The client reconnects and goes on where it was.
                    tracing::error!(error = ?Problem::from(error), "an event stream ended: the events can't be read");
                    return None;
                }
            }
            if let Some(last) = self.read.back() {
                self.last_number = last.number;
            } else if self.is_over {
                return None;
            } else if self
                .state
                .stop
                .clone()
                .run_until_cancelled(self.changes.changed())
                .await
                .is_none()
            {
                self.ended = true;
                return Some(shutdown());
            }
        }
        None
    }
}

fn sent(event: &Event) -> SentEvent {
    SentEvent::default()
        .id(event.number.to_string())
        .event(event.kind.name())
        .data(event.data.to_string())
}

/// Without an id, so that the client's `Last-Event-ID` stays that of the last stored event.
fn shutdown() -> SentEvent {
    let data = r#"{"detail":"The server stops; connect again with Last-Event-ID when it is back."}"#;
    SentEvent::default().event("shutdown").data(data)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http::Request;

    use super::*;

    #[test]
    fn the_last_event_id_is_a_number_or_refused() {
        let read = |text: &str| {
            let (mut parts, ()) = Request::builder()
                .header(LAST_EVENT_ID, text)
                .body(())
                .unwrap()
                .into_parts();
            LastEventId::from_request_parts(&mut parts, &())
                .now_or_never()
                .unwrap()
                .ok()
        };
        assert_eq!(read("17"), Some(LastEventId(17)));
        assert_eq!(
            ["", "-1", "x", "1.5", "null", "18446744073709551615"].map(read),
            [None; 6]
        );
    }

    #[test]
    fn without_a_last_event_id_the_stream_begins_at_the_first_event() {
        let (mut parts, ()) = Request::new(()).into_parts();
        let read = LastEventId::from_request_parts(&mut parts, &()).now_or_never().unwrap();
        assert_eq!(read.ok(), Some(LastEventId(0)));
    }
}
