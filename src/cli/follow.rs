//! Follows jobs to their end: a progress bar each on a terminal, a few plain lines each elsewhere;
//! on standard error, so that standard output is free for results.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use eventsource_stream::{Event, Eventsource};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
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
        let bar = follower.bars.as_ref().map(|bars| {
            let template = "  {prefix:<20} {pos:>5}/{len} epochs  {bar:12.cyan/blue}  {wide_msg}";
            let style = ProgressStyle::with_template(template).expect("the template is a constant");
            let bar = bars.add(ProgressBar::new(job.progress.epochs));
            bar.set_style(style.progress_chars("━╸─"));
            bar.set_prefix(job.name.clone());
            bar.set_message(job.status.clone());
            bar
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
        match (event.event.as_str(), &self.bar) {
            ("epoch", _) => {
                let metrics = data["metrics"].as_object().map(figures).unwrap_or_default();
                self.epoch(data["epoch"].as_u64().unwrap_or_default(), metrics);
            }
            ("status", Some(bar)) => bar.set_message(data["status"].as_str().unwrap_or_default().to_owned()),
            _ => {}
        }
    }

    fn epoch(&mut self, epoch: u64, metrics: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(metrics);
            bar.set_position(epoch);
        } else if epoch >= self.next_epoch {
            eprintln!("{}", self.text(epoch, &metrics));
            self.next_epoch = (epoch + 1).max(self.next_epoch + self.epochs.div_ceil(5));
        }
    }

    /// The bar goes, one line that says how it ended stays.
    fn finish(&self, job: &Job) {
        let progress = &job.progress;
        let batches = match progress.batches_per_epoch {
            Some(1) => "1 batch an epoch, ".to_owned(),
            Some(many) => format!("{many} batches an epoch, "),
            None => String::new(),
        };
        let figures = figures(&progress.metrics);
        let mut text = self.text(progress.epoch, &format!("{figures}  ({batches}{:.2} s)", job.seconds()));
        if job.status != "succeeded" {
            text += &format!(" {}", job.status);
        }
        match &self.bar {
            Some(bar) => {
                bar.println(text);
                bar.finish_and_clear();
            }
            None => eprintln!("{text}"),
        }
    }

    fn text(&self, epoch: u64, what: &str) -> String {
        format!("  {:<20} {epoch:>5}/{} epochs  {what}", self.name, self.epochs)
    }
}
