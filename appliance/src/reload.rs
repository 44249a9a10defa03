//! Taking a changed configuration into force. The rule: a file with a mistake changes nothing, and a key that only a
//! restart can change is named, not taken in silence.

use crate::config::{self, Checked, Coordination, Policy, Problems};
use crate::state::State;
use crate::systemd;
use larder_net::coordinator::ServiceOptions;
use larder_proto::policy::{Dialect, Policies, Role};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a reload did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// Sections and keys that are in force from now on.
    pub(crate) applied: Vec<String>,
    /// Keys that were changed and need a restart.
    pub(crate) needs_restart: Vec<String>,
    /// What the file asks for that has no effect yet.
    pub(crate) warnings: Vec<String>,
}

/// Reads the configuration again and publishes it.
///
/// # Errors
/// All that is wrong in the file; then nothing has changed.
pub(crate) fn reload(state: &State) -> Result<Reloaded, Problems> {
    let _one_at_a_time = state.reloading.lock();
    let loaded = config::load(state.file.as_deref());
    state.gauges.reloaded(loaded.is_ok(), state.clock.unix());
    let new = match loaded {
        Ok(new) => new,
        Err(problems) => {
            for line in problems.lines() {
                tracing::error!("{line}");
            }
            tracing::error!("the configuration has mistakes; the settings stay as they were");
            let first = problems.lines().first().map_or("", String::as_str);
            systemd::status(&format!(
                "serving with the settings of before, since the configuration has mistakes: {first}"
            ));
            return Err(problems);
        }
    };
    let old = state.config.load_full();
    let done = Reloaded {
        applied: changed(&live(&old), &live(&new))
            .into_iter()
            .chain(policies_changed(&old.policy, &new.policy))
            .collect(),
        needs_restart: changed(&fixed(&old), &fixed(&new)),
        warnings: new.warnings.clone(),
    };
    state.telemetry.within(|| new.settings.links.count());
    state
        .settings
        .store(Arc::new(state.budget.fit(new.settings.clone())));
    state.store.limit_to(new.store_bytes_max);
    state.config.store(Arc::new(merged(&old, new)));
    if let (Some(coordinator), Coordination::Embedded(embedded)) =
        (&state.coordinator, &state.config.load().coordination)
    {
        coordinator.set(embedded.service.clone());
    }
    state
        .certificates
        .renew(&state.config.load(), state.clock.unix());
    for warning in &done.warnings {
        tracing::warn!("{warning}");
    }
    if !done.needs_restart.is_empty() {
        let keys = done.needs_restart.join(", ");
        tracing::warn!("changed, but in force only after a restart: {keys}");
    }
    let applied = done.applied.join(", ");
    let applied = if applied.is_empty() {
        "nothing"
    } else {
        &applied
    };
    tracing::info!("the configuration was read again; changed: {applied}");
    systemd::status(match done.needs_restart.is_empty() {
        true => "serving",
        false => "serving; some settings wait for a restart",
    });
    Ok(done)
}

/// What can change of a coordinator while it runs: what it goes by, not whether and where there is one.
fn kept(old: &Coordination, new: Coordination) -> Coordination {
    match (old, new) {
        (Coordination::Embedded(old), Coordination::Embedded(new)) => {
            let mut kept = old.clone();
            kept.service = new.service;
            Coordination::Embedded(kept)
        }
        (old, _) => old.clone(),
    }
}

/// The part of `[coordinator]` that needs a restart, as a text that differs where it does.
fn coordination_fixed(coordination: &Coordination) -> String {
    match coordination {
        Coordination::Embedded(embedded) => {
            let mut fixed = embedded.clone();
            fixed.service = ServiceOptions::default();
            format!("{fixed:?}")
        }
        other => format!("{other:?}"),
    }
}

/// The other part.
fn coordination_live(coordination: &Coordination) -> String {
    match coordination {
        Coordination::Embedded(embedded) => format!("{:?}", embedded.service),
        _ => String::new(),
    }
}

/// What is published: what can change now is new, all else is as it runs.
fn merged(old: &Checked, new: Checked) -> Checked {
    Checked {
        admin_names: new.admin_names,
        age_max_s: new.age_max_s,
        store_bytes_max: new.store_bytes_max,
        tls: new.tls,
        coordination: kept(&old.coordination, new.coordination),
        settings: new.settings,
        policy: new.policy,
        warnings: new.warnings,
        files: new.files,
        policy_files: new.policy_files,
        hash: new.hash,
        ..old.clone()
    }
}

type Keys = Vec<(&'static str, String)>;

/// What a reload can change, as text to compare.
fn live(config: &Checked) -> Keys {
    let mut settings = config.settings.clone();
    let cache_status = std::mem::take(&mut settings.cache_status);
    let slots = std::mem::take(&mut settings.upload_slots_max);
    let port = settings.peer_external_port.take();
    let links = std::mem::take(&mut settings.links);
    let crowds = std::mem::take(&mut settings.crowds);
    // They are told one by one.
    settings.policies = Policies::defaults(Role::Appliance, Dialect::Y2018);
    vec![
        ("server.admin_names", format!("{:?}", config.admin_names)),
        ("server.cache_status", cache_status.to_string()),
        ("server.upload_slots_max", slots.to_string()),
        ("server.peer_external_port", format!("{port:?}")),
        ("links", format!("{links:?}")),
        ("crowds", format!("{crowds:?}")),
        ("origins", format!("{settings:?}")),
        ("tls", format!("{:?}", config.tls)),
        ("coordinator", coordination_live(&config.coordination)),
    ]
}

/// Policies that need a restart, and so are told with the keys that do.
const FIXED_POLICIES: [&str; 1] = ["DOModifyCacheDrive"];

/// The policies that have another value now; both values are logged.
fn policies_changed(old: &Policy, new: &Policy) -> Vec<String> {
    let live = config::policy_names().filter(|name| !FIXED_POLICIES.contains(name));
    let changed = live.filter(|name| old.0.get(name) != new.0.get(name));
    changed
        .map(|name| {
            let words = |policy: &Policy| match policy.0.get(name) {
                Some(value) => value.to_string(),
                None => "its default".to_owned(),
            };
            tracing::info!("policy.{name}: {} -> {}", words(old), words(new));
            format!("policy.{name}")
        })
        .collect()
}

/// What only a restart can change.
fn fixed(config: &Checked) -> Keys {
    vec![
        ("server.http", format!("{:?}", config.http)),
        ("server.https", format!("{:?}", config.https)),
        ("server.peer", format!("{:?}", config.peer)),
        ("server.admin", config.admin.to_string()),
        ("server.metrics", format!("{:?}", config.metrics)),
        (
            "server.memory_bytes_max",
            config.memory_bytes_max.to_string(),
        ),
        ("server.site", config.site.clone()),
        ("server.shards", config.shards.to_string()),
        ("server.driver", format!("{:?}", config.driver)),
        ("store.paths", format!("{:?}", config.store_paths)),
        ("coordinator", coordination_fixed(&config.coordination)),
        ("discovery.dns_sd", config.dns_sd.to_string()),
        ("log", format!("{:?}", config.log)),
    ]
}

fn changed(old: &Keys, new: &Keys) -> Vec<String> {
    let differs = old.iter().zip(new).filter(|(old, new)| old.1 != new.1);
    differs.map(|(old, _)| old.0.to_owned()).collect()
}
