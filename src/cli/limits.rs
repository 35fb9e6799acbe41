//! Every limit of the server as an option: its default, and why there is one.

use crate::api::{Limits, TableLimits};
use crate::training::session::SessionOptions;
use crate::training::{JobLimits, NetworkLimits, RunnerOptions};

/// All of them. What the document of the API states for every server (layers, units, epochs, rows a step) can only be
/// lowered.
#[derive(clap::Args)]
pub(super) struct LimitArgs {
    #[command(flatten)]
    tenants: TenantLimits,
    #[command(flatten)]
    jobs: JobLimitArgs,
    #[command(flatten)]
    tables: TableLimitArgs,
    #[command(flatten)]
    requests: RequestLimits,
    #[command(flatten)]
    connections: ConnectionLimits,
}

/// What one tenant may have, so that there is room for the others.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits of each tenant")]
struct TenantLimits {
    /// Jobs that wait, paused ones too; a queue that nobody ever gets to the end of helps nobody
    #[arg(long, env = "TRAINYARD_MAX_QUEUED_JOBS", value_name = "N", default_value_t = 1000)]
    max_queued_jobs: u32,
    /// All its tables, as they were uploaded, and models together, in MiB: all tenants share the disk
    #[arg(
        long,
        env = "TRAINYARD_MAX_STORAGE_MIB",
        value_name = "MIB",
        default_value_t = 102_400
    )]
    max_storage_mib: u32,
    /// Sessions at once; each holds a network and its optimizer's state on disk
    #[arg(long, env = "TRAINYARD_MAX_SESSIONS", value_name = "N", default_value_t = 100)]
    max_sessions: u32,
    /// Event streams open at once, each a connection that stays; further ones are refused with 429
    #[arg(long, env = "TRAINYARD_MAX_EVENT_STREAMS", value_name = "N", default_value_t = 256)]
    max_event_streams: u16,
}

/// What a network and its training may be.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits of networks and jobs")]
struct JobLimitArgs {
    /// Layers of a network: more than any that learns, and each takes its time
    #[arg(long, env = "TRAINYARD_MAX_LAYERS", value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max_layers: u16,
    /// Units of one layer; two such layers have billions of weights between them
    #[arg(long, env = "TRAINYARD_MAX_UNITS", value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    max_units: u32,
    /// Weights and biases of a network; each checkpoint writes all of them and the optimizer's state
    #[arg(
        long,
        env = "TRAINYARD_MAX_PARAMETERS",
        value_name = "N",
        default_value_t = 100_000_000
    )]
    max_parameters: u64,
    /// Epochs of a job; each leaves a line of history in the database
    #[arg(long, env = "TRAINYARD_MAX_EPOCHS", value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_epochs: u32,
    /// Rows a step; what a network makes of them is in memory at once
    #[arg(long, env = "TRAINYARD_MAX_BATCH_SIZE", value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    max_batch_size: u32,
    /// Estimated memory of a job, in MiB, and of all that train at once; a larger one is refused
    #[arg(
        long,
        env = "TRAINYARD_MAX_JOB_MEMORY_MIB",
        value_name = "MIB",
        default_value_t = 4096
    )]
    max_job_memory_mib: u32,
    /// Estimated arithmetic of a job, in 10¹² multiply-adds; the default is about a month of one core
    #[arg(
        long,
        env = "TRAINYARD_MAX_JOB_TERA_OPERATIONS",
        value_name = "N",
        default_value_t = 100_000
    )]
    max_job_tera_operations: u32,
}

/// What a table may be.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits of tables")]
struct TableLimitArgs {
    /// Largest table that may be uploaded, in MiB, after gunzip when it comes compressed; it is in memory while it trains
    #[arg(long, env = "TRAINYARD_MAX_UPLOAD_MIB", value_name = "MIB", default_value_t = 2048)]
    max_upload_mib: u32,
    /// How many times its size a gzip body may unpack to: tables manage 3 to 20, bombs a thousand
    #[arg(long, env = "TRAINYARD_MAX_GZIP_RATIO", value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    max_gzip_ratio: u32,
    /// Rows of a table; each takes memory in every training on it
    #[arg(long, env = "TRAINYARD_MAX_ROWS", value_name = "N", default_value_t = 100_000_000)]
    max_rows: u64,
    /// Columns of a table; each has its statistics in every answer about it
    #[arg(long, env = "TRAINYARD_MAX_COLUMNS", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_columns: u32,
    /// One field, in KiB: longer ones come from a quote that was never closed
    #[arg(long, env = "TRAINYARD_MAX_FIELD_KIB", value_name = "KIB", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..))]
    max_field_kib: u16,
}

/// What one request may bring.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits of requests")]
struct RequestLimits {
    /// A JSON body, in MiB; read, it takes many times its size in memory. It may be nested 128 deep, always
    #[arg(long, env = "TRAINYARD_MAX_JSON_MIB", value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    max_json_mib: u16,
    /// All JSON bodies at once, in MiB, at least one of the largest; more are refused with 503
    #[arg(long, env = "TRAINYARD_MAX_JSON_MEMORY_MIB", value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    max_json_memory_mib: u16,
    /// A safetensors body, in MiB; it is held in memory twice
    #[arg(long, env = "TRAINYARD_MAX_TENSORS_MIB", value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    max_tensors_mib: u16,
    /// All safetensors bodies at once, in MiB, at least one of the largest; more are refused with 503
    #[arg(long, env = "TRAINYARD_MAX_TENSORS_MEMORY_MIB", value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    max_tensors_memory_mib: u16,
    /// The CSV of predict/csv, in MiB; it is never in memory, this bounds the time of one call
    #[arg(
        long,
        env = "TRAINYARD_MAX_PREDICT_CSV_MIB",
        value_name = "MIB",
        default_value_t = 2048
    )]
    max_predict_csv_mib: u32,
    /// Rows of a JSON prediction, which are held in memory; predict/csv takes any number
    #[arg(long, env = "TRAINYARD_MAX_INSTANCES", value_name = "N", default_value_t = 10_000)]
    max_instances: u32,
    /// Headers, in KiB; they are read before anybody knows who sends them
    #[arg(long, env = "TRAINYARD_MAX_HEADER_KIB", value_name = "KIB", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=64))]
    max_header_kib: u8,
    /// Path and query, in KiB
    #[arg(long, env = "TRAINYARD_MAX_URI_KIB", value_name = "KIB", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    max_uri_kib: u8,
}

/// What all clients together may have at once.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits of connections and load")]
struct ConnectionLimits {
    /// Requests a second of one key, or of one address without a valid key; 0 for no limit
    ///
    /// As many may come at once. The default only stops who would keep a large machine from all others; lower it where
    /// tenants share a small one.
    #[arg(
        long,
        env = "TRAINYARD_MAX_REQUESTS_PER_SECOND",
        value_name = "N",
        default_value_t = 50_000
    )]
    max_requests_per_second: u32,
    /// Connections open at once, each a file descriptor; on further ones a request is refused with 503
    #[arg(long, env = "TRAINYARD_MAX_CONNECTIONS", value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..))]
    max_connections: u16,
    /// Event streams open at once, each a connection that is kept from requests; further ones are refused with 429
    #[arg(
        long,
        env = "TRAINYARD_MAX_EVENT_STREAMS_IN_ALL",
        value_name = "N",
        default_value_t = 512
    )]
    max_event_streams_in_all: u16,
    /// Tables received at once as uploads, each with a temporary file; further ones are refused with 503
    #[arg(long, env = "TRAINYARD_MAX_UPLOADS", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    max_uploads: u16,
    /// The same for predict/csv, apart from them, so that a flood of uploads keeps nobody from predicting
    #[arg(long, env = "TRAINYARD_MAX_PREDICTED_TABLES", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    max_predicted_tables: u16,
    /// Predictions that wait while every core has one, not counting small ones; further ones are refused with 503
    #[arg(
        long,
        env = "TRAINYARD_MAX_WAITING_PREDICTIONS",
        value_name = "N",
        default_value_t = 64
    )]
    max_waiting_predictions: u16,
    /// Calls that wait to read a table, or to write a long history or large weights, while every core does; further ones
    /// are refused with 503
    #[arg(long, env = "TRAINYARD_MAX_WAITING_TABLES", value_name = "N", default_value_t = 64)]
    max_waiting_tables: u16,
}

const MIB: u64 = 1 << 20;

impl LimitArgs {
    pub(super) fn api(&self) -> Limits {
        let (requests, connections, tables) = (&self.requests, &self.connections, &self.tables);
        let json_body_bytes = u64::from(requests.max_json_mib) * MIB;
        let tensor_body_bytes = u64::from(requests.max_tensors_mib) * MIB;
        Limits {
            json_body_bytes,
            json_memory_bytes: json_body_bytes.max(u64::from(requests.max_json_memory_mib) * MIB),
            tensor_body_bytes,
            tensor_memory_bytes: tensor_body_bytes.max(u64::from(requests.max_tensors_memory_mib) * MIB),
            upload_bytes: u64::from(tables.max_upload_mib) * MIB,
            table: TableLimits {
                rows: tables.max_rows,
                columns: tables.max_columns as usize,
                field_bytes: usize::from(tables.max_field_kib) << 10,
            },
            tenant_storage_bytes: u64::from(self.tenants.max_storage_mib) * MIB,
            gzip_ratio: tables.max_gzip_ratio.into(),
            prediction_csv_bytes: u64::from(requests.max_predict_csv_mib) * MIB,
            instances: requests.max_instances as usize,
            waiting_predictions: connections.max_waiting_predictions.into(),
            waiting_table_readers: connections.max_waiting_tables.into(),
            tenant_event_streams: self.tenants.max_event_streams.into(),
            event_streams: connections.max_event_streams_in_all.into(),
            uploads: connections.max_uploads.into(),
            predicted_tables: connections.max_predicted_tables.into(),
            requests_per_second: connections.max_requests_per_second,
            connections: connections.max_connections.into(),
            header_bytes: usize::from(requests.max_header_kib) << 10,
            uri_bytes: usize::from(requests.max_uri_kib) << 10,
            ..Limits::default()
        }
    }

    pub(super) fn runner(&self) -> RunnerOptions {
        RunnerOptions {
            limits: JobLimits {
                network: self.network(),
                epochs: self.jobs.max_epochs,
                batch_size: self.jobs.max_batch_size,
                memory_bytes: u64::from(self.jobs.max_job_memory_mib) * MIB,
                multiply_adds: u128::from(self.jobs.max_job_tera_operations) * 1_000_000_000_000,
            },
            max_waiting: self.tenants.max_queued_jobs.into(),
            ..RunnerOptions::default()
        }
    }

    pub(super) fn sessions(&self) -> SessionOptions {
        SessionOptions {
            max_sessions: self.tenants.max_sessions.into(),
            network: self.network(),
            ..SessionOptions::default()
        }
    }

    fn network(&self) -> NetworkLimits {
        NetworkLimits {
            layers: self.jobs.max_layers.into(),
            units: self.jobs.max_units,
            parameters: self.jobs.max_parameters,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn what_no_option_says_is_as_the_layers_have_it() {
        let limits = Alone::parse_from(["trainyard"]).limits;
        assert_eq!(format!("{:?}", limits.api()), format!("{:?}", Limits::default()));
        assert_eq!(
            format!("{:?}", limits.runner()),
            format!("{:?}", RunnerOptions::default())
        );
        assert_eq!(
            format!("{:?}", limits.sessions()),
            format!("{:?}", SessionOptions::default())
        );
    }

    #[test]
    fn memory_for_all_bodies_is_enough_for_one() {
        let limits = Alone::parse_from(["trainyard", "--max-json-mib=500", "--max-tensors-mib=1000"])
            .limits
            .api();
        assert_eq!(
            (limits.json_memory_bytes, limits.tensor_memory_bytes),
            (500 << 20, 1000 << 20)
        );
    }

    #[test]
    fn what_the_document_states_can_only_be_lowered() {
        for wrong in [
            "--max-layers=1001",
            "--max-units=65537",
            "--max-epochs=1000001",
            "--max-batch-size=10000001",
            "--max-header-kib=65",
            "--max-connections=0",
        ] {
            assert!(Alone::try_parse_from(["trainyard", wrong]).is_err(), "{wrong}");
        }
    }
}
