//! A week of patches, replayed through eviction policies: byte miss ratios of FIFO, LRU, SIEVE, S3-FIFO, GDSF, Belady
//! and the evictor as it is built. The rule: the evictor was tuned on the seeds 1 and 2 and is judged by others, and
//! there it is at most one point worse than the best of the policies that do not know the future. To see the table:
//! `cargo test -p larder-storage --test eviction -- --nocapture`.

mod policies;
mod trace;

use policies::{Built, Least, Line, S3Fifo, replay};
use std::collections::HashMap;
use trace::{Form, patch_week};

/// As much as that, of all bytes that are asked for, it may miss more than the best does.
const MORE_MAX: f64 = 0.01;

/// Seeds that nothing was tuned on.
const JUDGES: [u64; 2] = [11, 12];

fn judge(seed: u64, form: Form) {
    let trace = patch_week(seed, form);
    let unique: HashMap<u64, u32> = trace.iter().map(|r| (r.key, r.piece_bytes)).collect();
    let footprint: u64 = unique.values().map(|bytes| u64::from(*bytes)).sum();
    let asked: u64 = trace.iter().map(|r| u64::from(r.asked_bytes)).sum();
    let never = usize::MAX >> 1;
    let mut nexts = vec![never; trace.len()];
    let mut seen = HashMap::new();
    for (at, request) in trace.iter().enumerate().rev() {
        nexts[at] = seen.insert(request.key, at).unwrap_or(never);
    }
    let mut table = format!(
        "{form:?}, seed {seed}: {} requests for {} MiB in {} pieces, {} MiB\n  size     FIFO     LRU   SIEVE S3-FIFO    GDSF | each piece  as built | Belady\n",
        trace.len(),
        asked >> 20,
        unique.len(),
        footprint >> 20
    );
    let mut worse = Vec::new();
    for percent in [1, 10, 50] {
        let cap = footprint * percent / 100;
        let others = [
            replay(Line::<false, false>::default(), &trace, &nexts, cap),
            replay(Line::<true, false>::default(), &trace, &nexts, cap),
            replay(Line::<false, true>::default(), &trace, &nexts, cap),
            replay(S3Fifo::default(), &trace, &nexts, cap),
            replay(Least::<false>::default(), &trace, &nexts, cap),
        ];
        let each = replay(Built::<false>::default(), &trace, &nexts, cap);
        let built = replay(Built::<true>::default(), &trace, &nexts, cap);
        let belady = replay(Least::<true>::default(), &trace, &nexts, cap);
        let row = others.map(|ratio| format!("{ratio:.4}")).join("  ");
        table += &format!("  {percent:3} %  {row} |     {each:.4}    {built:.4} | {belady:.4}\n");
        let best = others.into_iter().fold(f64::INFINITY, f64::min);
        assert!(belady <= best.min(each).min(built), "{table}");
        if each.max(built) > best + MORE_MAX {
            worse.push(percent);
        }
    }
    eprint!("{table}");
    assert!(
        worse.is_empty(),
        "seed {seed}, {form:?}, {worse:?} %\n{table}"
    );
}

#[test]
fn whole_pieces_are_missed_at_most_a_point_more_than_with_the_best() {
    for seed in JUDGES {
        judge(seed, Form::Pieces);
    }
}

#[test]
fn ranges_are_missed_at_most_a_point_more_than_with_the_best() {
    for seed in JUDGES {
        judge(seed, Form::Ranges);
    }
}
