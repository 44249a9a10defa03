//! `GET /api/v1/downloads`, `/api/v1/perfsnap` and `/api/v1/report`: what the seed's cmdlets tell, and months in sum. The
//! rule: the keys are the cmdlets', and all of them are in every answer; what is shown of them is for who asks to say.

use super::api::{Trouble, blocking, value};
use crate::cmdlets::{perfsnap, status};
use crate::months::this_month;
use crate::report::Report;
use crate::state::State;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Of};
use axum::http::StatusCode;
use axum::response::Response;
use larder_proto::months::{self, Sums};
use larder_proto::policy::month::Month;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Which downloads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those that something has gone on with in the last minute.
    #[serde(default)]
    recent: bool,
}

/// Of what time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    /// As `2026-10`, or `this`; without it all since the start.
    month: Option<String>,
}

pub(super) async fn downloads(
    Of(state): Of<Arc<State>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Response {
    blocking(state, move |state| {
        let Query(which) = which.map_err(|error| {
            Trouble::unclear(format!(
                "{}; the parameter is recent=true",
                error.body_text()
            ))
        })?;
        state.gather_clients();
        let rows = status::rows(state, which.recent);
        Ok(json!({ "now_unix": state.clock.unix(), "downloads": value(rows) }))
    })
    .await
}

pub(super) async fn perfsnap(
    Of(state): Of<Arc<State>>,
    when: Result<Query<When>, QueryRejection>,
) -> Response {
    blocking(state, move |state| {
        let month = month_of(when)?;
        state.gather_clients();
        let month = month.map(|month| {
            let sums = state.months.months().of(month).cloned();
            (months::text(month), sums.unwrap_or_default())
        });
        Ok(value(perfsnap::perfsnap(state, month)))
    })
    .await
}

pub(super) async fn report(
    Of(state): Of<Arc<State>>,
    when: Result<Query<When>, QueryRejection>,
) -> Response {
    blocking(state, move |state| {
        let month = month_of(when)?;
        state.gather_clients();
        let kept = state.months.months();
        let site = state.config.load().site.clone();
        let report = |month, sums: &Sums| Report::of(months::text(month), site.clone(), sums);
        let told = kept.told();
        let reports: Vec<Report> = match month {
            None => told
                .into_iter()
                .map(|(month, sums)| report(month, sums))
                .collect(),
            Some(month) => {
                let first = told.last().map(|(first, _)| *first);
                let is_told = first.is_some_and(|first| first <= month) && month <= this_month();
                let sums = kept.of(month).cloned();
                if sums.is_none() && !is_told && month != this_month() {
                    return Err(nothing_of(month, first));
                }
                vec![report(month, &sums.unwrap_or_default())]
            }
        };
        Ok(json!({ "months": value(reports) }))
    })
    .await
}

fn nothing_of(month: Month, first: Option<Month>) -> Trouble {
    let first = match first {
        Some(first) => format!("the first month that is kept is {}", months::text(first)),
        None => "no month is kept yet".to_owned(),
    };
    let words = format!("nothing is known of {}; {first}", months::text(month));
    Trouble(StatusCode::NOT_FOUND, words)
}

fn month_of(when: Result<Query<When>, QueryRejection>) -> Result<Option<Month>, Trouble> {
    let Query(when) = when.map_err(|error| {
        Trouble::unclear(format!("{}; the parameter is month", error.body_text()))
    })?;
    match when.month.as_deref() {
        None => Ok(None),
        Some("this") => Ok(Some(this_month())),
        Some(text) => match months::parse(text) {
            Some(month) => Ok(Some(month)),
            None => Err(Trouble::unclear(format!(
                "{text:?} is no month; write it as 2026-10"
            ))),
        },
    }
}
