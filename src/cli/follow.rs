//! Follows jobs to their end: a progress bar each on a terminal, a few plain lines each elsewhere;
//! on standard error, so that standard output is free for results.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use eventsource_stream::{Event, Eventsource};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};
use tokio_stream::StreamExt;

use super::client::Client;
use super::views::{Job, figures};

/// Where the progress of several jobs is shown, each on a line of its own.
#[derive(Clone)]
pub(super) struct Follower {
    /// `None` when standard error is no terminal.
    bars: Option<MultiProgress>,
}

impl Follower {
    pub(super) fn on_stderr() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            bars: terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
        }
    }

    /// Shows the job until it is done, which it returns as it is then.
    pub(super) async fn follow(&self, client: &Client, job: Job) -> Result<Job> {
        let mut line = Line::new(self, &job);
        let mut last = String::new();
        loop {
            let mut events = client.events(&job.id, &last).await?.bytes_stream().eventsource();
            while let Some(Ok(event)) = events.next().await {
                line.show(&event);
                if event.event == "done" {
                    let job = client.get(&format!("/v1/jobs/{}", job.id)).await?;
                    line.finish(&job);
                    return Ok(job);
                }
                if !event.id.is_empty() {
                    last = event.id;
                }
            }
            // The connection was cut: the stream goes on after the last event that was seen.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

/// One job on the screen.
struct Line {
    name: String,
    epochs: u64,
    bar: Option<ProgressBar>,
    /// Without a bar: the next epoch that is worth a line.
    next_epoch: u64,
}

impl Line {
    fn new(follower: &Follower, job: &Job) -> Self {
        let style = ProgressStyle::with_template("  {prefix:<22} {bar:24.cyan/blue} epoch {pos:>5}/{len} {msg}");
        let bar = follower.bars.as_ref().map(|bars| {
            let bar = ProgressBar::new(job.progress.epochs)
                .with_prefix(job.name.clone())
                .with_message(job.status.clone());
            bars.add(bar.with_style(style.expect("the template is a constant").progress_chars("━╸─")))
        });
        Self {
            name: job.name.clone(),
            epochs: job.progress.epochs,
            bar,
            next_epoch: 1,
        }
    }

    fn show(&mut self, event: &Event) {
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else {
            return;
        };
        match event.event.as_str() {
            "epoch" => {
                let metrics = data["metrics"].as_object().cloned().unwrap_or_default();
                self.epoch(data["epoch"].as_u64().unwrap_or_default(), &metrics);
            }
            "status" => self.status(data["status"].as_str().unwrap_or_default()),
            _ => {}
        }
    }

    fn epoch(&mut self, epoch: u64, metrics: &Map<String, Value>) {
        if let Some(bar) = &self.bar {
            bar.set_message(figures(metrics));
            bar.set_position(epoch);
        } else if epoch >= self.next_epoch {
            eprintln!(
                "  {:<22} epoch {epoch:>5}/{}  {}",
                self.name,
                self.epochs,
                figures(metrics)
            );
            self.next_epoch = (epoch + 1).max(self.next_epoch + self.epochs.div_ceil(5));
        }
    }

    fn status(&self, status: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(status.to_owned());
        }
    }

    fn finish(&self, job: &Job) {
        let progress = &job.progress;
        let batches = progress
            .batches_per_epoch
            .map_or(String::new(), |batches| match batches {
                1 => "1 batch an epoch, ".to_owned(),
                many => format!("{many} batches an epoch, "),
            });
        let end = format!(
            "{}  {} ({batches}{:.2} s)",
            figures(&progress.metrics),
            job.status,
            job.seconds()
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(progress.epoch);
                bar.abandon_with_message(end);
            }
            None => eprintln!("  {:<22} epoch {:>5}/{}  {end}", self.name, progress.epoch, self.epochs),
        }
    }
}
