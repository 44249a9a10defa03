//! How far a download is, on the terminal. The rule: it is for people alone; where standard error is no terminal
//! nothing is shown, and nothing that is shown slows the download down.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use larder_content::ContentNo;
use larder_net::download::{Download, Sources};
use parking_lot::Mutex;
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(100);
const CELLS: u64 = 32;

/// What is counted.
#[derive(Default)]
pub(super) struct Meter(Mutex<Now>);

#[derive(Default, Clone)]
struct Now {
    length: u64,
    disk: u64,
    /// Whose sources are asked; None: they are told.
    of: Option<(Download, ContentNo)>,
    told: Sources,
}

impl Now {
    fn sources(&self) -> Sources {
        match &self.of {
            Some((download, content)) => download.sources(*content),
            None => self.told,
        }
    }
}

impl Meter {
    /// A content is fetched of which so many bytes were there.
    pub(super) fn of(&self, download: &Download, content: ContentNo, length: u64, disk: u64) {
        *self.0.lock() = Now {
            length,
            disk,
            of: Some((download.clone(), content)),
            told: Sources::default(),
        };
    }

    /// Something without pieces has come so far.
    pub(super) fn tell(&self, length: u64, told: Sources) {
        *self.0.lock() = Now {
            length,
            disk: 0,
            of: None,
            told,
        };
    }

    /// Where the bytes came from so far, and how many were there before.
    pub(super) fn counts(&self) -> (Sources, u64) {
        let now = self.0.lock().clone();
        (now.sources(), now.disk)
    }

    fn look(&self) -> (u64, u64, Sources) {
        let now = self.0.lock().clone();
        (now.length, now.disk, now.sources())
    }
}

/// The bar; it goes when it is dropped.
pub(super) struct Shown {
    bar: ProgressBar,
    over: tokio::sync::oneshot::Sender<()>,
}

impl Shown {
    /// Shows it on the present runtime.
    pub(super) fn begin(meter: &Arc<Meter>, name: &str) -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let colours = std::env::var_os("NO_COLOR").is_none();
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let of_style = Arc::clone(meter);
        let template = "{prefix} {sources} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        // A template of ours that is wrong leaves the usual bar.
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key(
                "sources",
                move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                    let (length, disk, sources) = of_style.look();
                    let _ = out.write_str(&cells(length, disk, sources, colours));
                },
            );
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        let (over, mut told) = tokio::sync::oneshot::channel();
        let (of_task, meter) = (bar.clone(), Arc::clone(meter));
        tokio::spawn(async move {
            let mut began = false;
            while tokio::time::timeout(EVERY, &mut told).await.is_err() {
                let (length, disk, sources) = meter.look();
                of_task.set_length(length);
                of_task.set_position((disk + sources.all()).min(length));
                if !began && length > 0 {
                    // What was there before is no speed.
                    began = true;
                    of_task.reset_eta();
                }
                of_task.tick();
            }
        });
        Some(Self { bar, over })
    }

    pub(super) fn end(self) {
        let _ = self.over.send(());
        self.bar.finish_and_clear();
    }
}

/// Sources with the letter and the colour that each is shown in.
fn parts(disk: u64, sources: Sources) -> [(u64, char, u8, &'static str); 6] {
    [
        (disk, '#', 37, "disk"),
        (sources.lan, 'L', 32, "LAN"),
        (sources.group, 'G', 34, "group"),
        (sources.internet, 'I', 35, "Internet"),
        (sources.cache_server, 'C', 36, "cache host"),
        (sources.http, 'O', 33, "origin"),
    ]
}

/// The bar's cells, in the colours of the sources that filled them, or their letters.
fn cells(length: u64, disk: u64, sources: Sources, colours: bool) -> String {
    let mut out = String::from("[");
    let (mut sum, mut filled) = (0, 0);
    for (bytes, letter, colour, _) in parts(disk, sources) {
        sum += bytes;
        let upto = u128::from(sum) * u128::from(CELLS) / u128::from(length.max(1));
        let upto = u64::try_from(upto).unwrap_or(CELLS).min(CELLS);
        let count = usize::try_from(upto.saturating_sub(filled)).unwrap_or(0);
        if count > 0 && colours {
            let _ = write!(out, "\x1b[{colour}m{}\x1b[0m", "█".repeat(count));
        } else {
            out.extend(std::iter::repeat_n(letter, count));
        }
        filled = filled.max(upto);
    }
    out.extend(std::iter::repeat_n(
        '.',
        usize::try_from(CELLS - filled).unwrap_or(0),
    ));
    out.push(']');
    out
}

/// Where the bytes came from, in words, the most first.
pub(crate) fn words(disk: u64, sources: Sources) -> String {
    let mut there: Vec<_> = parts(disk, sources)
        .into_iter()
        .filter(|part| part.0 > 0)
        .collect();
    there.sort_by_key(|part| std::cmp::Reverse(part.0));
    let words = there
        .iter()
        .map(|(bytes, _, _, name)| format!("{name} {}", size(*bytes)));
    words.collect::<Vec<_>>().join(", ")
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_fills_its_part_of_the_bar() {
        let sources = Sources {
            http: 25,
            lan: 50,
            ..Sources::default()
        };
        let bar = cells(100, 0, sources, false);
        assert_eq!(
            bar,
            format!("[{}{}{}]", "L".repeat(16), "O".repeat(8), ".".repeat(8))
        );
        assert_eq!(
            cells(0, 0, Sources::default(), false),
            format!("[{}]", ".".repeat(32))
        );
        let over = cells(10, 20, sources, false);
        assert_eq!(over.chars().count(), 34, "never wider than it is");
        let coloured = cells(100, 0, sources, true);
        assert!(coloured.contains("\x1b[32m") && coloured.contains("\x1b[33m"));
        assert_eq!(words(0, sources), "LAN 50 B, origin 25 B");
    }
}
