//! Log lines, to standard error: for people, as JSON, or as the journal reads them; or to the journal itself. The rule:
//! the format is the only thing chosen here; under systemd each line carries its priority and no time of its own.

use super::journal::{self, priority};
use crate::config::{Log, LogFormat};
use std::fmt;
use std::io::{self, IsTerminal};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends the process's log lines where they belong. Does nothing where that was done before.
pub(crate) fn install(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    if log.format == LogFormat::Text
        && let Some(journal) = journal::Journal::of_this_service()
    {
        let entries = tracing_subscriber::registry().with(filter).with(journal);
        return told(entries.try_init().is_ok());
    }
    let stream = std::env::var("JOURNAL_STREAM");
    let is_read_by_journal = stream.is_ok_and(|stream| journal::stderr_is(&stream));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let done = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text if is_read_by_journal => builder
            .fmt_fields(DefaultFields::new())
            .event_format(Journal)
            .try_init(),
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
    };
    told(done.is_ok());
}

fn told(done: bool) {
    if !done {
        tracing::debug!("this process has its log lines already");
    }
}

/// A line as the journal reads it from a service's standard error: `<priority>message`.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
