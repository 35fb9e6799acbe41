//! Every limit of the HTTP side: a name, a default, a reason.

use std::time::Duration;

pub use crate::data::profile::Limits as TableLimits;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// What one client, or all of them together, may take. Networks and jobs are limited where specs are checked.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A JSON body. Parsed, it takes up to sixteen times its size in memory.
    pub json_body_bytes: u64,
    /// A body of safetensors: held once as it came and once as numbers, while no session's batch may take more than a few
    /// times as much.
    pub tensor_body_bytes: u64,
    /// All JSON bodies that are being received or worked on, together: what so many connections could send at once is
    /// more than a machine has.
    pub json_memory_bytes: u64,
    /// The same of safetensors.
    pub tensor_memory_bytes: u64,
    /// An uploaded table, as it comes and after gunzip: a table is held in memory while it trains.
    pub upload_bytes: u64,
    /// Rows, columns and fields of a table, where it is uploaded and where its rows are predicted.
    pub table: TableLimits,
    /// All tables and models of one tenant together: the disk is for all of them.
    pub tenant_storage_bytes: u64,
    /// How many bytes a gzip body may give for each of its own, beyond the first `gzip_free_bytes`.
    /// Tables compress 3 to 20 times; a thousand times is a bomb.
    pub gzip_ratio: u64,
    /// Below this size nobody is harmed, whatever the ratio.
    pub gzip_free_bytes: u64,
    /// The CSV of predict/csv: it is never held as a whole, so this only bounds the time of one call.
    pub prediction_csv_bytes: u64,
    /// Rows of one JSON prediction: what a server answers in well under a second. More rows go through predict/csv.
    pub instances: usize,
    /// Predictions that wait while every core has one; those that take well under a millisecond are answered as they come.
    /// A queue need only be long enough that no core ever idles; what is in it beyond that is only latency and memory.
    pub waiting_predictions: usize,
    /// Calls that wait to read a whole table, or to write an answer as large as one (a long history, a large model's
    /// weights), while every core does: these take up to seconds, so that who stood at the end of a longer queue would
    /// wait for minutes.
    pub waiting_table_readers: usize,
    /// Items of a page of a list, when the client names no number.
    pub page_default: u32,
    pub page_max: u32,
    /// Rows of a preview, when the client names no number: what fits a screen.
    pub preview_default: u32,
    pub preview_max: u32,
    /// The longest `?wait=`: proxies commonly cut a silent request after a minute.
    pub wait_max: Duration,
    /// Faults listed in one answer; a body with a million faults must not become an answer of 100 MB.
    pub listed_faults: usize,
    /// Event streams that one tenant has open.
    pub tenant_event_streams: usize,
    /// Event streams open at once: each holds a connection and a task, and half of the connections stay for requests.
    pub event_streams: usize,
    /// The silence after which an event stream sends a comment, so that proxies keep it and dead peers are noticed.
    pub event_keep_alive: Duration,
    /// Tables that are received at once to be kept: each has a temporary file and a buffer of 256 KiB.
    pub uploads: usize,
    /// The same for predict/csv, apart from them: whoever uploads much keeps nobody from predicting.
    pub predicted_tables: usize,
    /// Requests per second of one key, or of one address without a valid key, of which as many may come at once; 0: as many
    /// as come. More than two cores answer, so that it only stops who would keep several from all others.
    pub requests_per_second: u32,
    /// Connections open at once, idle ones included; a further one is answered with a 503 and closed.
    pub connections: usize,
    /// Time for a request's head to arrive, and for an idle connection to send its next.
    pub head_timeout: Duration,
    /// Headers of a request, names and values.
    pub header_bytes: usize,
    /// Path and query of a request.
    pub uri_bytes: usize,
    /// The longest silence inside a request's body.
    pub body_idle: Duration,
    /// What a body must bring per second of waiting for it, once `body_idle` has passed: less is not a client but an attack.
    pub body_bytes_per_s: u64,
    /// What the kernel takes of an answer that it can't send yet: left to itself it lets that grow to megabytes for each client
    /// that doesn't read.
    pub unsent_bytes: u32,
    /// The longest a client may leave an answer unread.
    pub send_idle: Duration,
    /// After an early answer (413, 415) the rest of the body is read and dropped for this long, so that the client
    /// reads the answer instead of seeing its connection reset.
    pub linger: Duration,
    /// From the order to stop to the end of the last connection; the platform kills at 30 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            json_body_bytes: 32 * MIB,
            tensor_body_bytes: 128 * MIB,
            tensor_memory_bytes: 512 * MIB,
            json_memory_bytes: 128 * MIB,
            upload_bytes: 2 * GIB,
            table: TableLimits::default(),
            tenant_storage_bytes: 100 * GIB,
            gzip_ratio: 200,
            gzip_free_bytes: 16 * MIB,
            prediction_csv_bytes: 2 * GIB,
            instances: 10_000,
            waiting_predictions: 64,
            waiting_table_readers: 64,
            page_default: 50,
            page_max: 200,
            preview_default: 20,
            preview_max: 1000,
            wait_max: Duration::from_secs(60),
            listed_faults: 1000,
            tenant_event_streams: 256,
            event_streams: 512,
            event_keep_alive: Duration::from_secs(15),
            uploads: 64,
            predicted_tables: 64,
            requests_per_second: 50_000,
            connections: 1024,
            head_timeout: Duration::from_secs(20),
            header_bytes: 32 * KIB as usize,
            uri_bytes: 8 * KIB as usize,
            body_idle: Duration::from_secs(20),
            body_bytes_per_s: KIB,
            unsent_bytes: 64 * KIB as u32,
            send_idle: Duration::from_secs(20),
            linger: Duration::from_secs(5),
            drain: Duration::from_secs(15),
        }
    }
}
