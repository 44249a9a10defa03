//! The kernel and what it lets larder have. The rule: where the appliance runs, it is asked what it has itself, since its
//! unit or container has other limits than the shell that this runs in.

use super::finding::{Grade, Told, bad, fair, good, sentence};
use super::patient::Patient;
use larder_storage::{ram_tier::RamTier, ring};
use std::fs;

/// Fewer open files than these are fewer than a branch office's clients and peers can have.
const FILES_MIN: u64 = 16_384;
/// Locked memory with which all of the frames for reads can be registered.
const LOCKED_BYTES_MIN: u64 = 512 << 20;
/// CAP_IPC_LOCK, whose owner the limit does not bind (capabilities(7)).
const CAP_IPC_LOCK: u32 = 14;
/// Of the files that it may have open, how many make it a matter of time.
const FILES_SHARE: f64 = 0.8;

pub(super) fn kernel(_: &Patient) -> Vec<Told> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![good(format!("Linux {}", release.trim()))]
}

/// What the shards of the running appliance say: what each has, and what would make it better.
fn shards(patient: &Patient) -> Option<Vec<(String, Option<String>)>> {
    let status = patient.status()?;
    let shards = status.get("shards")?.as_array()?.iter();
    let of = |shard: &serde_json::Value| {
        let has = shard.get("has")?.as_str()?.to_owned();
        let advice = shard.get("advice").and_then(|words| words.as_str());
        Some((has, advice.map(str::to_owned)))
    };
    let all: Vec<_> = shards.filter_map(of).collect();
    (!all.is_empty()).then_some(all)
}

fn is_of_memory(words: &str) -> bool {
    words.contains("memlock") || words.contains("LimitMEMLOCK")
}

pub(super) fn io_uring(patient: &Patient) -> Vec<Told> {
    if let Some(shards) = shards(patient) {
        let advice = shards.iter().find_map(|(_, advice)| advice.as_ref());
        return vec![match advice {
            // Told by the check for that.
            Some(words) if is_of_memory(words) && words.contains("register") => {
                good("in use by the appliance, without registered memory")
            }
            Some(words) => sentence(Grade::Fair, words),
            None => good(shards[0].0.clone()),
        }];
    }
    vec![match ring::probe() {
        Ok(features) => match &features.unregistered_because {
            Some(words) if is_of_memory(words) => good("can be had, without registered memory"),
            Some(words) => sentence(Grade::Fair, words),
            None => good(features.to_string()),
        },
        Err(error) => sentence(Grade::Fair, &error.to_string()),
    }]
}

pub(super) fn open_files(patient: &Patient) -> Vec<Told> {
    let advice = "raise the hard limit of its unit or container (LimitNOFILE=1048576)";
    let of_appliance = (
        patient.figure("process_open_fds"),
        patient.figure("process_max_fds"),
    );
    if let (Some(open), Some(most)) = of_appliance {
        let found = format!("{open} of at most {most} are open in the appliance");
        return vec![if open > most * FILES_SHARE {
            bad(found, advice)
        } else if most < FILES_MIN as f64 {
            fair(found, advice)
        } else {
            good(found)
        }];
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    vec![match limit(&limits, "Max open files") {
        // The hard limit is what `serve` raises itself to.
        Some((_, Some(hard))) if hard < FILES_MIN => fair(format!("at most {hard}"), advice),
        Some((_, hard)) => good(format!("at most {}", number(hard))),
        None => fair("the limit is not known", "see that /proc can be read"),
    }]
}

pub(super) fn locked_memory(patient: &Patient) -> Vec<Told> {
    if let Some(shards) = shards(patient) {
        let advice = shards.iter().filter_map(|(_, advice)| advice.as_deref());
        return vec![match advice.into_iter().find(|words| is_of_memory(words)) {
            Some(words) => sentence(Grade::Fair, words),
            None => good("enough for the appliance as it runs"),
        }];
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if may(&status, CAP_IPC_LOCK) {
        return vec![good("unlimited for this user (CAP_IPC_LOCK)")];
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let Some((soft, _)) = limit(&limits, "Max locked memory") else {
        return Vec::new();
    };
    vec![match soft {
        Some(bytes) if bytes < LOCKED_BYTES_MIN => fair(
            format!("at most {} KiB", bytes >> 10),
            "with more (LimitMEMLOCK=infinity) reads from disk cost less CPU",
        ),
        soft => good(format!("at most {}", number(soft))),
    }]
}

pub(super) fn huge_pages(_: &Patient) -> Vec<Told> {
    let pages = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/shmem_enabled";
    let chosen = fs::read_to_string(pages).ok();
    vec![match chosen.as_deref().map(chosen_of) {
        Some("advise" | "always" | "inherit") => good("allowed for memory that asks for them"),
        Some(other) => fair(
            format!("{other:?}: hits from memory cost more CPU"),
            format!("`echo advise > {pages}` (tmpfiles.d does it)"),
        ),
        None => fair(
            "this kernel has none: hits from memory cost more CPU",
            "a newer kernel has them",
        ),
    }]
}

pub(super) fn sendfile(_: &Patient) -> Vec<Told> {
    vec![match RamTier::new(16 << 20) {
        Ok(tier) if tier.sendfile_is_safe() => good("tried, safe"),
        Ok(_) => fair(
            "not safe on this kernel: hits are copied",
            "another kernel makes hits from memory cost less CPU",
        ),
        Err(error) => bad(
            format!("memory for hot pieces can not be had: {error}"),
            "look at the memory of the machine and of its control group",
        ),
    }]
}

/// Soft and hard limit of a line of /proc/self/limits; None inside is unlimited.
fn limit(limits: &str, name: &str) -> Option<(Option<u64>, Option<u64>)> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace().map(|word| word.parse().ok());
    Some((words.next()?, words.next()?))
}

/// Whether /proc/self/status gives that capability.
fn may(status: &str, capability: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> capability & 1 == 1)
}

fn number(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// The word in brackets, which is the one in force.
fn chosen_of(text: &str) -> &str {
    let inside = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or("nothing", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n\
                      Max locked memory         8388608              unlimited            bytes     \n";
        assert_eq!(
            limit(limits, "Max open files"),
            Some((Some(1024), Some(524_288)))
        );
        assert_eq!(
            limit(limits, "Max locked memory"),
            Some((Some(8_388_608), None))
        );
        assert_eq!(limit(limits, "Max nice priority"), None);
        assert_eq!(
            chosen_of("always inherit within_size [advise] never deny force\n"),
            "advise"
        );
        assert_eq!(chosen_of("never"), "nothing");
        let status = "CapPrm:\t000001ffffffffff\nCapEff:\t0000000000004000\n";
        assert!(may(status, CAP_IPC_LOCK) && !may(status, 0) && !may("", 14));
    }
}
