//! What the checks look at: the configuration, and what the running appliance says. The rule: each thing is read or asked
//! once, by the first check that wants it, and an appliance that did not answer once is not asked again.

use super::super::client::{Answer, Silent, Whom};
use crate::config::{self, Checked};
use hyper::Method;
use serde_json::Value;
use std::future::Future;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// How much of its patience a check has for an answer that costs the appliance nothing: 3 of 10 s.
const ANSWER_WITHIN: f64 = 0.3;

/// Why an appliance said nothing.
#[derive(Debug)]
pub(super) struct Away {
    /// It takes connections all the same.
    pub(super) hangs: bool,
    pub(super) words: String,
}

/// One appliance, with what is known of it.
pub(super) struct Patient {
    pub(super) whom: Whom,
    /// Its configuration file, where one was named or installed.
    pub(super) file: Option<PathBuf>,
    /// None where it can not be read, or is elsewhere.
    pub(super) config: Option<Checked>,
    /// What is wrong in it.
    pub(super) problems: Vec<String>,
    /// The object that ranges are to be tried with.
    pub(super) probe: Option<String>,
    /// How long a check may take.
    pub(super) patience: Duration,
    ready: OnceLock<Result<Answer, Away>>,
    status: OnceLock<Option<Value>>,
    hosts: OnceLock<Option<Value>>,
    clients: OnceLock<Option<Value>>,
    metrics: OnceLock<Option<String>>,
    pub(super) probed: OnceLock<Vec<super::ranges::Probed>>,
}

impl Patient {
    pub(super) fn new(whom: Whom, probe: Option<String>, patience: Duration) -> Self {
        let file = whom.file();
        let (config, problems) = match whom.is_remote() {
            true => (None, Vec::new()),
            false => match config::load(file.as_deref()) {
                Ok(checked) => (Some(checked), Vec::new()),
                Err(problems) => (None, problems.lines().to_vec()),
            },
        };
        Self {
            whom,
            file,
            config,
            problems,
            probe,
            patience,
            ready: OnceLock::new(),
            status: OnceLock::new(),
            hosts: OnceLock::new(),
            clients: OnceLock::new(),
            metrics: OnceLock::new(),
            probed: OnceLock::new(),
        }
    }

    /// Its configuration is known, or nobody needs to know it.
    pub(super) const fn may_be_asked(&self) -> bool {
        self.problems.is_empty()
    }

    /// Asks it.
    pub(super) fn ask(&self, method: Method, target: &str) -> anyhow::Result<Answer> {
        let within = self.patience.mul_f64(ANSWER_WITHIN);
        self.whom.ask_within(method, target, within)
    }

    /// Its answer to `/readyz`.
    pub(super) fn ready(&self) -> Result<&Answer, &Away> {
        let ask = || {
            let asked = self.ask(Method::GET, "/readyz");
            asked.map_err(|error| Away {
                hangs: error.downcast_ref::<Silent>().is_some(),
                words: format!("{error:#}"),
            })
        };
        self.ready.get_or_init(ask).as_ref()
    }

    /// Whether it answers and lets itself be looked at.
    pub(super) fn runs(&self) -> bool {
        let answer = self.may_be_asked().then(|| self.ready().ok()).flatten();
        answer.is_some_and(|answer| matches!(answer.status.as_u16(), 200 | 503))
    }

    /// It is a coordinator alone, which serves no clients and has no token.
    pub(super) fn is_coordinator_alone(&self) -> bool {
        let ready = self.ready().ok();
        ready.is_some_and(|ready| ready.status.is_success()) && self.status().is_none()
    }

    fn json(&self, once: &OnceLock<Option<Value>>, target: &str) -> Option<Value> {
        let ask = || {
            let answer = self.runs().then(|| self.ask(Method::GET, target));
            answer?.ok()?.json().ok()
        };
        once.get_or_init(ask).clone()
    }

    pub(super) fn status(&self) -> Option<Value> {
        self.json(&self.status, "/api/v1/status")
    }

    pub(super) fn hosts(&self) -> Option<Value> {
        self.json(&self.hosts, "/api/v1/hosts")
    }

    pub(super) fn clients(&self) -> Option<Value> {
        self.json(&self.clients, "/api/v1/clients")
    }

    /// The sum of a figure's series; None where it is not there.
    pub(super) fn figure(&self, name: &str) -> Option<f64> {
        let ask = || {
            let answer = self.runs().then(|| self.ask(Method::GET, "/metrics"));
            let answer = answer?.ok()?;
            answer.status.is_success().then_some(answer.text)
        };
        let text = self.metrics.get_or_init(ask).as_ref()?;
        let of_name = text
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name));
        let values = of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.reduce(|sum, value| sum + value)
    }

    /// Waits for something of the network, for no longer than the patience.
    pub(super) fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime can be had: {error}"))?;
        let limit = self.patience.saturating_sub(Duration::from_millis(500));
        let done = runtime.block_on(async { tokio::time::timeout(limit, what).await });
        // A name that is still being looked up is not waited for.
        runtime.shutdown_background();
        done.map_err(|_| format!("no answer within {} s", self.patience.as_secs()))
    }
}
