//! What a simulated day looks like. The rule: everything follows from a plan and its seed.

/// Bytes a second of a 100 Mbit/s link.
pub(crate) const FAST: u64 = 12_500_000;

/// A plan of a whole simulation.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Decides everything that the rest leaves open.
    pub(crate) seed: u64,
    pub(crate) sites: usize,
    /// Devices of each site.
    pub(crate) devices: usize,
    pub(crate) pieces: u32,
    pub(crate) block_bytes: u32,
    /// Of each device, in both directions, in bytes a second.
    pub(crate) device_rate: u64,
    /// Some devices are slower, down to a tenth.
    pub(crate) uneven: bool,
    /// Of each site's line, in both directions.
    pub(crate) wan_rate: u64,
    /// Devices of different sites are told of each other.
    pub(crate) sites_meet: bool,
    /// Devices may ask peers at all.
    pub(crate) peers: bool,
    /// Each site has an appliance that its devices ask instead of the origin.
    pub(crate) appliances: bool,
    /// They all begin within this time.
    pub(crate) start_ms: u64,
    /// Of a hundred devices.
    pub(crate) liars: usize,
    /// Devices come and go.
    pub(crate) churn: bool,
    /// Lines of sites are cut for a while.
    pub(crate) cuts: bool,
    /// The coordinator forgets everything now and then.
    pub(crate) restarts: bool,
    /// Connections that a device opens.
    pub(crate) connections: usize,
    /// Peers that may ask a device at once.
    pub(crate) slots: Option<usize>,
    /// When it must be over.
    pub(crate) limit_ms: u64,
}

impl Plan {
    /// Quiet: nothing goes wrong.
    pub(crate) fn quiet(sites: usize, devices: usize, pieces: u32) -> Self {
        Self {
            seed: 1,
            sites,
            devices,
            pieces,
            block_bytes: 128 << 10,
            device_rate: FAST,
            uneven: false,
            wan_rate: FAST,
            sites_meet: true,
            peers: true,
            appliances: false,
            start_ms: 100,
            liars: 0,
            churn: false,
            cuts: false,
            restarts: false,
            connections: 40,
            slots: None,
            limit_ms: 3_600_000,
        }
    }

    /// All that can go wrong, to a hundred devices in five sites.
    pub(crate) fn rough(seed: u64) -> Self {
        Self {
            seed,
            block_bytes: 256 << 10,
            uneven: true,
            start_ms: 20_000,
            liars: 20,
            churn: true,
            cuts: true,
            restarts: true,
            connections: 10,
            slots: Some(8),
            ..Self::quiet(5, 20, 32)
        }
    }

    /// The same to ten thousand devices in fifty sites.
    pub(crate) fn large(seed: u64) -> Self {
        Self {
            sites: 50,
            devices: 200,
            pieces: 64,
            ..Self::rough(seed)
        }
    }
}

/// Chance from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is above zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
