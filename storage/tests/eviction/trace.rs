//! A week of patches in a branch office, made from a seed. The rule: what is asked for depends on the seed alone, and
//! time is a part of it, since touches of one moment are one client's.

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Milliseconds since the week began.
    pub(crate) at_ms: u64,
    /// Which piece of which object.
    pub(crate) key: u64,
    /// Bytes in the piece.
    pub(crate) piece_bytes: u32,
    /// Bytes of it that are asked for.
    pub(crate) asked_bytes: u32,
}

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Any power between the two is as likely.
    fn spread(&mut self, from: u64, to: u64) -> u64 {
        // Octave by octave, and evenly within each: near enough, and whole numbers.
        let octaves = (to / from).ilog2() + u32::from(!(to / from).is_power_of_two());
        let low = from << self.below(u64::from(octaves));
        (low + self.below(low)).min(to)
    }
}

/// How clients read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Each piece once, whole, in shuffled order: the native client (facts: clients, section 1.4).
    Pieces,
    /// Three of five by ranges of many sizes, in order or here and there, so that a piece is asked for many times in a
    /// row by the same client.
    Ranges,
}

const HOUR_S: u64 = 3600;
const DAY_S: u64 = 24 * HOUR_S;
const DEVICES: u64 = 100;
const APPS: usize = 600;
const SMALL: usize = 2000;

/// Pieces as the store has them.
const PIECE: u64 = 1 << 20;

struct Week {
    random: Random,
    form: Form,
    requests: Vec<Request>,
}

/// All that is asked for, in turn.
pub(crate) fn patch_week(seed: u64, form: Form) -> Vec<Request> {
    let mut week = Week {
        random: Random(seed),
        form,
        requests: Vec::new(),
    };
    let apps = zipf(APPS, 0.9);
    let small = zipf(SMALL, 0.8);
    // About half of the applications get a new version some time.
    let renewed: Vec<u64> = (0..APPS).map(|_| week.random.below(14 * DAY_S)).collect();
    for device in 0..DEVICES {
        week.device(device, &apps, &small, &renewed);
    }
    // A mirror reads a quarter of the catalogue at night, wanted or not.
    let mut at_s = 3 * DAY_S + 2 * HOUR_S;
    for app in (0..APPS as u64).step_by(4) {
        let took = week.read(at_s, app_object(app, at_s, &renewed), 40 << 20, true);
        at_s += took;
    }
    week.requests.sort_by_key(|request| request.at_ms);
    week.requests
}

/// What is added up of the weights, for drawing.
fn zipf(count: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    (1..=count)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect()
}

fn draw(random: &mut Random, sums: &[f64]) -> u64 {
    let at = random.unit() * sums[sums.len() - 1];
    sums.partition_point(|sum| *sum <= at).min(sums.len() - 1) as u64
}

fn app_object(app: u64, at_s: u64, renewed: &[u64]) -> u64 {
    1 << 20 | app << 1 | u64::from(renewed[app as usize] < at_s)
}

impl Week {
    fn device(&mut self, device: u64, apps: &[f64], small: &[f64], renewed: &[u64]) {
        // Three versions of Windows, of unlike shares; one of eight devices is away until Friday.
        let version = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2][self.random.below(10) as usize];
        let straggler = device % 8 == 7;
        let mut taken = [false; 4];
        for day in if straggler { 4..7 } else { 0..7 } {
            if day > 4 && self.random.below(4) > 0 || self.random.below(8) == 0 {
                continue;
            }
            let from_s = day * DAY_S + 7 * HOUR_S + self.random.below(3 * HOUR_S);
            let stays_s = 6 * HOUR_S + self.random.below(4 * HOUR_S);
            // Tuesday evening: the month's update, the framework's, the office suite's; Thursday one more.
            for (kind, out) in [(0, 1), (1, 1), (2, 1), (3, 3)] {
                if day > out && !taken[kind as usize] {
                    taken[kind as usize] = true;
                    // Most take it as soon as they are there.
                    let delay_s = self.random.spread(60, 2 * HOUR_S);
                    let object =
                        2 << 20 | kind << 4 | if kind == 0 || kind == 2 { version } else { 0 };
                    self.read(from_s + delay_s, object, 0, false);
                }
            }
            // Signatures come every eight hours, and are taken one to three times a day.
            for _ in 0..1 + self.random.below(3) {
                let at_s = from_s + self.random.below(stays_s);
                self.read(at_s, (3 << 20) + at_s / (8 * HOUR_S), 0, false);
            }
            for _ in 0..2 + self.random.below(5) {
                let at_s = from_s + self.random.below(stays_s);
                let app = draw(&mut self.random, apps);
                self.read(at_s, app_object(app, at_s, renewed), 0, false);
            }
            for _ in 0..20 {
                let at_s = from_s + self.random.below(stays_s);
                let which = draw(&mut self.random, small);
                self.read(at_s, 4 << 20 | which, 0, false);
            }
            // What this device alone wants: an image, a game.
            if self.random.below(25) == 0 {
                let at_s = from_s + self.random.below(stays_s);
                self.read(at_s, 5 << 20 | device << 8 | day, 0, false);
            }
        }
    }

    /// Reads an object, and says how many seconds that takes. Its size follows from its number.
    fn read(&mut self, from_s: u64, object: u64, speed: u64, whole: bool) -> u64 {
        let mut shape = Random(object.wrapping_mul(0xA24B_AED4_963E_E407));
        let bytes = match object >> 20 {
            1 => shape.spread(PIECE, 150 * PIECE),
            2 => shape.spread(150 * PIECE, 700 * PIECE),
            3 => shape.spread(8 * PIECE, 40 * PIECE),
            4 => shape.spread(2 << 10, 60 << 10),
            _ => shape.spread(200 * PIECE, 2000 * PIECE),
        };
        let speed = if speed > 0 {
            speed
        } else {
            self.random.spread(1 << 20, 40 << 20)
        };
        let pieces = bytes.div_ceil(PIECE);
        let piece_bytes = |piece: u64| (bytes - piece * PIECE).min(PIECE);
        let mut reads: Vec<(u64, u64)> = Vec::new();
        let manner = self.random.below(10);
        if self.form == Form::Pieces || whole || manner < 4 || bytes < PIECE {
            reads.extend((0..pieces).map(|piece| (piece, piece_bytes(piece))));
            if !whole {
                for at in (1..reads.len()).rev() {
                    let other = self.random.below(at as u64 + 1);
                    reads.swap(at, usize::try_from(other).expect("an index"));
                }
            }
        } else if manner < 8 {
            // In order, by ranges of one size that pieces do not care about.
            let step = self.random.spread(100 << 10, 6 << 20);
            let mut at = 0;
            while at < bytes {
                let end = (at + step).min(bytes);
                while at < end {
                    let stop = ((at / PIECE + 1) * PIECE).min(end);
                    reads.push((at / PIECE, stop - at));
                    at = stop;
                }
            }
        } else {
            // Here and there, as for what differs from the last version: a third of it.
            let mut at = self.random.below(PIECE);
            while at < bytes {
                let len = self.random.spread(16 << 10, 512 << 10).min(bytes - at);
                let len = len.min(PIECE - at % PIECE);
                reads.push((at / PIECE, len));
                at += len + self.random.spread(32 << 10, PIECE);
            }
        }
        let mut done = 0;
        for (piece, asked) in reads {
            self.requests.push(Request {
                at_ms: from_s * 1000 + done * 1000 / speed,
                key: object << 16 | piece,
                piece_bytes: u32::try_from(piece_bytes(piece)).expect("a piece"),
                asked_bytes: u32::try_from(asked).expect("a piece"),
            });
            done += asked;
        }
        done / speed + 1
    }
}
