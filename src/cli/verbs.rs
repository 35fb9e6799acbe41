//! The client verbs. Standard output carries the result alone (an id, a CSV), so that scripts can use it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use tokio_stream::StreamExt;

use super::client::{Client, ServerArgs, Table};
use super::follow::Follower;
use super::views::Job;

/// Upload a table: CSV or JSON lines, also gzipped
///
/// Prints the id of the dataset.
#[derive(clap::Args)]
pub(super) struct UploadArgs {
    /// The file; - is standard input
    file: PathBuf,
    /// What to call it [default: the file's name without its extension]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn upload(args: UploadArgs) -> Result<()> {
    let name = args.name.unwrap_or_else(|| stem(&args.file));
    let dataset = Client::of(&args.server).upload(&name, open(&args.file).await?).await?;
    eprintln!("{}: {} rows", dataset.name, dataset.rows);
    for column in &dataset.columns {
        eprintln!("  {column}");
    }
    println!("{}", dataset.id);
    Ok(())
}

/// Train a network on a dataset and follow it to its end
///
/// Only the target must be named; everything else has a default chosen for the data.
/// Prints the id of the model, or with --no-wait the id of the job.
#[derive(clap::Args)]
pub(super) struct TrainArgs {
    /// The dataset's id
    dataset: String,
    /// The column to predict
    #[arg(long)]
    target: String,
    /// What to call the job and its model
    #[arg(long)]
    name: Option<String>,
    /// Passes over the rows
    #[arg(long)]
    epochs: Option<u64>,
    /// JSON file with further fields of the job: model, training, preprocessing, …
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Go on from this model: its weights, preprocessing and optimizer state
    #[arg(long, value_name = "MODEL")]
    continue_from: Option<String>,
    /// Only submit the job
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn train(args: TrainArgs) -> Result<()> {
    let client = Client::of(&args.server);
    let job = client.submit(&job_of(&args)?).await?;
    match args.no_wait {
        true => println!("{}", job.id),
        false => follow(&client, job).await?,
    }
    Ok(())
}

/// The job that the arguments describe; what they name themselves wins over the file.
fn job_of(args: &TrainArgs) -> Result<Value> {
    let mut job = match &args.spec {
        None => Map::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is not a JSON object", path.display()))?
        }
    };
    job.insert("dataset".to_owned(), json!(args.dataset));
    job.insert("target".to_owned(), json!(args.target));
    for (field, value) in [("name", &args.name), ("continue_from", &args.continue_from)] {
        if let Some(value) = value {
            job.insert(field.to_owned(), json!(value));
        }
    }
    if let Some(epochs) = args.epochs {
        let training = job.entry("training").or_insert_with(|| json!({}));
        ensure!(training.is_object(), "the spec's training must be an object");
        training["epochs"] = json!(epochs);
    }
    Ok(Value::Object(job))
}

/// Follow a job to its end
///
/// Prints the id of its model.
#[derive(clap::Args)]
pub(super) struct WatchArgs {
    /// The job's id
    job: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn watch(args: WatchArgs) -> Result<()> {
    let client = Client::of(&args.server);
    let job = client.get(&format!("/v1/jobs/{}", segment(&args.job)?)).await?;
    follow(&client, job).await
}

async fn follow(client: &Client, job: Job) -> Result<()> {
    let job = Follower::on_stderr().follow(client, job).await?;
    println!("{}", job.trained_model()?);
    Ok(())
}

/// Predict every row of a CSV file
///
/// Writes the same rows with the prediction's columns added to standard output.
#[derive(clap::Args)]
pub(super) struct PredictArgs {
    /// The model's id
    model: String,
    /// The CSV file, with the columns the model was trained on; - is standard input
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn predict(args: PredictArgs) -> Result<()> {
    let path = format!("/v1/models/{}/predict/csv", segment(&args.model)?);
    let answer = Client::of(&args.server)
        .post_table(&path, open(&args.file).await?)
        .await?;
    let mut out = std::io::stdout().lock();
    let mut content = answer.bytes_stream();
    while let Some(piece) = content.next().await {
        out.write_all(&piece.context("the answer was cut short")?)?;
    }
    Ok(out.flush()?)
}

/// The file as it goes over the wire: read while it is sent, its type told by its name.
async fn open(path: &Path) -> Result<Table> {
    let name = path.to_string_lossy().to_lowercase();
    let (name, gzip) = match name.strip_suffix(".gz") {
        Some(inner) => (inner.to_owned(), true),
        None => (name, false),
    };
    let path = if name == "-" { Path::new("/dev/stdin") } else { path };
    let file = tokio::fs::File::open(path)
        .await
        .with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Table {
        content: file.into(),
        // The server looks into what is not called a CSV.
        content_type: if name.ends_with(".csv") {
            "text/csv"
        } else {
            "application/octet-stream"
        },
        gzip,
    })
}

/// `iris` of `data/iris.csv.gz`
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
        _ => name.into_owned(),
    }
}

/// An id on its way into a URL: anything that could lead elsewhere is refused here already.
fn segment(id: &str) -> Result<&str> {
    let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    ensure!(plain, "{id:?} is no id");
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_called_after_its_file() {
        let names = ["data/iris.csv.gz", "iris", "-", ".hidden"].map(|path| stem(Path::new(path)));
        assert_eq!(names, ["iris", "iris", "-", ".hidden"]);
    }

    #[test]
    fn an_id_that_leads_elsewhere_is_refused() {
        assert!(segment("mdl_01938f4e").is_ok());
        for id in ["", "../datasets", "mdl_1?x", "mdl 1"] {
            assert!(segment(id).is_err(), "{id}");
        }
    }

    #[test]
    fn what_the_arguments_name_wins_over_the_spec_file() {
        let spec = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            spec.path(),
            r#"{"target": "a", "name": "kept", "training": {"epochs": 1, "seed": 7}}"#,
        )
        .unwrap();
        let args = TrainArgs {
            dataset: "ds_1".to_owned(),
            target: "b".to_owned(),
            name: None,
            epochs: Some(20),
            spec: Some(spec.path().to_owned()),
            continue_from: None,
            no_wait: true,
            server: ServerArgs::default(),
        };
        let expected = json!({"target": "b", "name": "kept", "training": {"epochs": 20, "seed": 7}, "dataset": "ds_1"});
        assert_eq!(job_of(&args).unwrap(), expected);
    }
}
