//! A job's events as a stream (server-sent events): what is stored, by number, and then what is stored next.

use std::convert::Infallible;
use std::fmt::Write;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use tokio::time::{Instant, sleep, timeout};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::AppState;
use super::auth::Caller;
use super::error::ApiError;
use super::event_streams::Place;
use super::extract::Id;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::JobId;
use crate::domain::problem::{Kind, Problem};
use crate::store::StoreError;
use crate::training::Changes;

/// Events read from the store and sent at a time.
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
    let place = state.event_streams.take(&caller.tenant)?;
    let events = Following {
        // Subscribed before the first look, so that nothing falls in between.
        changes: state.runner.changes(id),
        state,
        caller,
        id,
        last_number,
        is_over: job.status.is_final(),
        ended: false,
        _place: place,
    };
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(events.stream())).into_response())
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
    ended: bool,
    _place: Place,
}

impl Following {
    fn stream(self) -> impl Stream<Item = Result<String, Infallible>> {
        futures_util::stream::unfold(self, async |mut following| {
            let text = following.next().await?;
            Some((Ok(text), following))
        })
    }

    /// What is to be sent next: all events there are, up to a page; a comment after a long silence.
    async fn next(&mut self) -> Option<String> {
        while !self.ended {
            let stop = self.state.stop.clone();
            // Asked before each page: a client that has much to catch up on is told of the stop as soon as others.
            let page = match stop.run_until_cancelled(self.page()).await {
                Some(Ok(Some(page))) => page,
                Some(Ok(None)) => return None,
                None => {
                    self.ended = true;
                    return Some(shutdown());
                }
                Some(Err(error)) => {
                    // The client reconnects and goes on where it was.
                    tracing::error!(error = ?Problem::from(error), "an event stream ended: the events can't be read");
                    return None;
                }
            };
            if let Some(last) = page.last() {
                self.last_number = last.number;
                self.ended = last.kind == EventKind::Done;
                return Some(page.iter().map(sent).collect());
            }
            if self.is_over {
                return None;
            }
            let news = timeout(self.state.limits.event_keep_alive, self.changes.changed());
            match stop.run_until_cancelled(news).await {
                Some(Ok(())) | None => {}
                Some(Err(_)) => return Some(":\n\n".to_owned()),
            }
        }
        None
    }

    /// The next events that are stored; `None` when the client's key opens nothing any more.
    ///
    /// One stream reads at a time, and one that has much to catch up on lets pass as much time as it took: else a few clients
    /// that follow from the start would keep every core from all others.
    async fn page(&self) -> Result<Option<Vec<Event>>, StoreError> {
        let _turn = self.state.event_readers.acquire().await;
        let started = Instant::now();
        let store = &self.state.store;
        if !self.caller.is_still_let_in(store).await? {
            return Ok(None);
        }
        let page = store.events_after(&self.caller.tenant, self.id, self.last_number, PAGE_EVENTS);
        let page = page.await?;
        if page.len() == PAGE_EVENTS as usize {
            sleep(started.elapsed()).await;
        }
        Ok(Some(page))
    }
}

/// An event as the stream has it; its data is one line.
fn sent(event: &Event) -> String {
    let mut text = String::with_capacity(160);
    let (number, kind, data) = (event.number, event.kind.name(), &event.data);
    write!(text, "id: {number}\nevent: {kind}\ndata: {data}\n\n").expect("writing to a string");
    text
}

/// Without an id, so that the client's `Last-Event-ID` stays that of the last stored event.
fn shutdown() -> String {
    let detail = "The server stops; connect again with Last-Event-ID when it is back.";
    format!("event: shutdown\ndata: {{\"detail\":\"{detail}\"}}\n\n")
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
