//! The coordinator, this process's own or another, and what it keeps things in. The rule: it is asked what every device may
//! ask it, with the certificates and keys that the appliance has, and joins nothing.

use super::super::client::reachable;
use super::clocks::compared;
use super::finding::{Grade, Told, bad, fair, good, sentence};
use super::patient::Patient;
use crate::certificates::{DAY_S, WARN_BEFORE_DAYS};
use crate::config::{Checked, Coordination, Embedded};
use larder_net::clock::Clock;
use larder_net::coordinator::{ClientError, ClientOptions, CoordinatorClient, Memory, Redis};
use larder_proto::time::UnixSecs;
use larder_proto::tls::validity::Validity;
use larder_proto::tracker::message::Geo;

/// Those that are to be asked, each with what it is called.
fn coordinators(config: &Checked) -> Vec<(String, ClientOptions)> {
    match &config.coordination {
        Coordination::Off => Vec::new(),
        Coordination::Remote(options) => vec![(options.url.clone(), (**options).clone())],
        Coordination::Embedded(embedded) => own(embedded),
    }
}

/// The one in the appliance itself, where it serves others by http. By https it would have to be called by the name in its
/// certificate, which is not known.
fn own(embedded: &Embedded) -> Vec<(String, ClientOptions)> {
    let asked = embedded.http.iter().filter(|address| address.port() != 0);
    asked
        .filter(|_| embedded.is_asked_for)
        .map(|address| {
            let url = format!("http://{}", reachable(*address));
            (url.clone(), ClientOptions::new(url))
        })
        .collect()
}

/// What it says, and from when to when its certificate holds, where it showed one.
fn ask(patient: &Patient, options: ClientOptions) -> Result<(Geo, Option<Validity>), String> {
    let client = CoordinatorClient::new(options).map_err(|error| error.to_string())?;
    let asked = patient.wait(client.geo())?;
    let geo = asked.map_err(|error: ClientError| error.to_string())?;
    Ok((geo, client.certificate()))
}

/// What is told of its certificate, which was good enough to be let in by.
fn of_certificate(validity: Validity, now: UnixSecs) -> Option<Told> {
    let days = validity.left_s(now).unwrap_or(0) / DAY_S;
    (days < WARN_BEFORE_DAYS).then(|| {
        fair(
            format!("its certificate expires in {days} days"),
            "renew it there, before nobody trusts it any more and no new peers are found",
        )
    })
}

/// Whether one that is a part of the appliance can be there at all.
fn may_answer(patient: &Patient, config: &Checked) -> bool {
    let embedded = matches!(config.coordination, Coordination::Embedded(_));
    !embedded || patient.ready().is_ok()
}

pub(super) fn answers(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    if matches!(config.coordination, Coordination::Off) {
        return vec![good("off: no peers are asked for")];
    }
    if !may_answer(patient, config) {
        return Vec::new();
    }
    let asked = coordinators(config);
    if asked.is_empty() {
        return vec![good("in the appliance, for itself and whoever finds it")];
    }
    let each = asked.into_iter().map(|(name, options)| {
        let told = match ask(patient, options) {
            Ok((geo, validity)) => {
                let now = Clock::start().unix();
                let soon = validity.and_then(|validity| of_certificate(validity, now));
                let at = geo.external_ip_address;
                soon.unwrap_or_else(|| good(format!("answers, and sees this machine at {at}")))
            }
            Err(words) => bad(words, advice(&name)),
        };
        told.about(format!("coordinator {name}"))
    });
    each.collect()
}

fn advice(name: &str) -> String {
    let certificate = match name.starts_with("https") {
        true => ", its certificate ([origins] ca_file names authorities besides the system's)",
        false => "",
    };
    format!(
        "see that it runs there (`systemctl status larder`) and that its port is open{certificate}, and look at [coordinator] url; until then no new peers are found"
    )
}

pub(super) fn clock(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    // The clock of this very machine tells nothing.
    let Coordination::Remote(options) = &config.coordination else {
        return Vec::new();
    };
    let asked = ask(patient, (**options).clone());
    let here = Clock::start().unix();
    let told = asked.map(|(geo, _)| compared(&options.url, geo.server_time, here));
    // One that does not answer is told of as such.
    told.into_iter().collect()
}

pub(super) fn redis(patient: &Patient) -> Vec<Told> {
    let Some(Coordination::Embedded(embedded)) =
        patient.config.as_ref().map(|config| &config.coordination)
    else {
        return Vec::new();
    };
    let Some(options) = &embedded.redis else {
        return Vec::new();
    };
    let limits = embedded.service.limits;
    let redis = match Redis::new(options, limits, Memory::new(limits, 1, 1)) {
        Ok(redis) => redis,
        Err(words) => return vec![sentence(Grade::Bad, &words)],
    };
    let nodes = options.nodes.join(", ");
    let looked = patient.wait(redis.look(Clock::start().now()));
    let advice = "see that each node runs, lets this machine in by the password of [coordinator] redis_password_file, and is a cluster (`redis-cli --cluster check`); until then each coordinator goes on in its own memory";
    let told = match looked {
        Ok(Ok(())) => {
            let without = patient.figure("larder_coordinator_without_redis_total");
            match without.unwrap_or(0.0) {
                0.0 => good("answers in all its parts"),
                times => fair(
                    format!("answers now, but {times} calls since the start went on without it"),
                    "see its log for when it was away",
                ),
            }
        }
        Ok(Err(words)) | Err(words) => bad(words, advice),
    };
    vec![told.about(format!("Redis {nodes}"))]
}
