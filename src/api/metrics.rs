//! Counts what is asked and how long the answers take, in the text format that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;

/// Upper ends of the histogram's buckets, in seconds: predictions take a millisecond, `?wait=` a minute.
const BUCKETS_S: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];

#[derive(Debug, Default)]
pub(super) struct Metrics {
    series: Mutex<BTreeMap<Labels, Series>>,
}

/// Few values each: routes are templates, never what a client wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Default)]
struct Series {
    /// Answers that took no longer than the bucket's upper end and longer than the one below; the last: longer than all.
    buckets: [u64; BUCKETS_S.len() + 1],
    total: Duration,
}

impl Metrics {
    /// Notes an answer; `route` is empty where no route matched.
    pub(super) fn note(&self, route: &str, method: &Method, status: u16, latency: Duration) {
        let labels = Labels {
            route: route.to_owned(),
            method: method_label(method),
            status,
        };
        let bucket = BUCKETS_S
            .iter()
            .position(|end| latency.as_secs_f64() <= *end)
            .unwrap_or(BUCKETS_S.len());
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = series.entry(labels).or_default();
        series.buckets[bucket] += 1;
        series.total += latency;
    }

    /// The text format, version 0.0.4.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::from(
            "# HELP trainyard_http_request_duration_seconds Time from a request's head to its answer's head.\n\
             # TYPE trainyard_http_request_duration_seconds histogram\n",
        );
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for (labels, series) in series.iter() {
            write_series(&mut text, labels, series).expect("a String takes all that is written to it");
        }
        text
    }
}

fn write_series(text: &mut String, labels: &Labels, series: &Series) -> std::fmt::Result {
    const NAME: &str = "trainyard_http_request_duration_seconds";
    let Labels { route, method, status } = labels;
    let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
    let mut count = 0;
    for (answers, end) in series.buckets.iter().zip(BUCKETS_S) {
        count += answers;
        writeln!(text, "{NAME}_bucket{{{labels},le=\"{end}\"}} {count}")?;
    }
    count += series.buckets[BUCKETS_S.len()];
    writeln!(text, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
    writeln!(text, "{NAME}_sum{{{labels}}} {}", series.total.as_secs_f64())?;
    writeln!(text, "{NAME}_count{{{labels}}} {count}")
}

/// A client may invent methods; they are one label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_route_and_their_buckets_add_up() {
        let metrics = Metrics::default();
        for latency_ms in [1, 3, 700, 90_000] {
            metrics.note(
                "/v1/models/{id}/predict",
                &Method::POST,
                200,
                Duration::from_millis(latency_ms),
            );
        }
        metrics.note("", &Method::from_bytes(b"BREW").unwrap(), 404, Duration::ZERO);
        let text = metrics.to_text();
        let labels = "method=\"POST\",route=\"/v1/models/{id}/predict\",status=\"200\"";
        for (end, count) in [("0.001", 1), ("0.005", 2), ("0.5", 2), ("1", 3), ("60", 3), ("+Inf", 4)] {
            let line = format!("trainyard_http_request_duration_seconds_bucket{{{labels},le=\"{end}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains(&format!("_sum{{{labels}}} 90.704\n")), "{text}");
        assert!(
            text.contains("_count{method=\"other\",route=\"\",status=\"404\"} 1\n"),
            "{text}"
        );
    }
}
