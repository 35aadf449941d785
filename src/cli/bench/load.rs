//! Submitters: each posts a retry, waits for the end of the new run, and only then posts the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;

use super::workload::{Answered, Workload};

/// How long the end of a run may take, in seconds.
const LONGEST: u64 = 60;

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(LONGEST + 30);

/// Imports and backlogged retries that are under way at once.
const SEEDERS: usize = 16;

/// Whom the load is put on. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Load {
    http: reqwest::Client,
    base: String,
    token: String,
    workload: Workload,
    /// In every id, so that one database serves many times.
    prefix: String,
}

/// What so many retries were like.
#[derive(Debug)]
pub(super) struct Measured {
    /// From the post to the answer with the ended run, shortest first.
    pub(super) latencies: Vec<Duration>,
    /// From the first post to the last answer.
    pub(super) took: Duration,
}

#[derive(Deserialize)]
struct Envelope {
    data: Answered,
}

impl Load {
    pub(super) fn new(http: reqwest::Client, url: &str, token: &str, workload: Workload) -> Self {
        Self {
            http,
            base: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            workload,
            prefix: format!("bench_{}", uuid::Uuid::new_v4().simple()),
        }
    }

    fn source(&self, number: usize) -> String {
        format!("{}_{number}", self.prefix)
    }

    async fn post(
        &self,
        path: &str,
        prefer: Option<String>,
        body: Option<&Value>,
    ) -> anyhow::Result<Vec<u8>> {
        let mut request = self
            .http
            .request(Method::POST, format!("{}{path}", self.base))
            .timeout(PATIENCE)
            .bearer_auth(&self.token);
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        if status != StatusCode::OK {
            bail!("{path}: HTTP {status}: {}", String::from_utf8_lossy(&bytes));
        }
        Ok(bytes.into())
    }

    /// Imports failed runs, numbered from `first`.
    pub(super) async fn seed(
        &self,
        first: usize,
        count: usize,
        service: &str,
    ) -> anyhow::Result<()> {
        let service = service.to_owned();
        self.by_many(first, count, SEEDERS, move |load, number| {
            let service = service.clone();
            async move {
                let run = load.workload.failed_run(&load.source(number), &service);
                load.post("/v1/runs/import", None, Some(&run))
                    .await
                    .map(drop)
            }
        })
        .await
        .context("runs can't be imported")
    }

    /// Submits retries in the lane `bulk` and waits for none.
    pub(super) async fn backlog(&self, first: usize, count: usize) -> anyhow::Result<()> {
        let body = serde_json::json!({ "lane": "bulk" });
        self.by_many(first, count, SEEDERS, move |load, number| {
            let body = body.clone();
            async move {
                let path = format!("/v1/runs/{}/retry", load.source(number));
                load.post(&path, None, Some(&body)).await.map(drop)
            }
        })
        .await
        .context("the backlog can't be submitted")
    }

    /// Retries so many runs, so many at a time, and holds each to what it should have done.
    pub(super) async fn measure(
        &self,
        first: usize,
        count: usize,
        submitters: usize,
    ) -> anyhow::Result<Measured> {
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let began = Instant::now();
        self.by_many(first, count, submitters, move |load, number| {
            let told = told.clone();
            async move {
                let latency = load.retry(number).await?;
                told.send(latency).context("nobody counts any more")
            }
        })
        .await?;
        let took = began.elapsed();
        let mut latencies = Vec::with_capacity(count);
        while let Some(latency) = heard.recv().await {
            latencies.push(latency);
        }
        latencies.sort_unstable();
        Ok(Measured { latencies, took })
    }

    async fn retry(&self, number: usize) -> anyhow::Result<Duration> {
        let source = self.source(number);
        let began = Instant::now();
        let path = format!("/v1/runs/{source}/retry");
        let wait = Some(format!("wait={LONGEST}"));
        let bytes = self.post(&path, wait, None).await?;
        let latency = began.elapsed();
        let answer: Envelope = serde_json::from_slice(&bytes).context("an answer is no run")?;
        if let Some(problem) = self.workload.problem(&answer.data) {
            bail!("the retry {} of {source}: {problem}", answer.data.id);
        }
        Ok(latency)
    }

    /// Does something for each number, by so many tasks that each do one after the other.
    async fn by_many<F>(
        &self,
        first: usize,
        count: usize,
        tasks: usize,
        work: impl Fn(Self, usize) -> F + Clone + Send + 'static,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        let next = Arc::new(AtomicUsize::new(first));
        let mut working = JoinSet::new();
        for _ in 0..tasks.min(count) {
            let (load, next, work) = (self.clone(), Arc::clone(&next), work.clone());
            working.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= first + count {
                        return anyhow::Ok(());
                    }
                    work(load.clone(), number).await?;
                }
            });
        }
        while let Some(done) = working.join_next().await {
            done.map_err(|error| anyhow!(error))??;
        }
        Ok(())
    }
}
