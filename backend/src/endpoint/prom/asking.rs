//! One question of a client of Prometheus: who asks, of which tenant, for what; and how it is
//! worked on, as [`crate::questions`] says.

use std::sync::Arc;

use pulseboard_engine::Tenant;
use pulseboard_promql::EvalError;
use salvo::{Depot, Request, Response};

use super::{answer::ApiError, params::Params};
use crate::{
    app::App,
    base::telemetry::Limit,
    http::{
        self, caller,
        ingest::engine_tenant,
        pieces::{self, Ended, Pieces},
    },
    questions::{Finished, Working},
    shares::CallerKeys,
};

/// What is asked.
pub(super) struct Asking {
    pub(super) app: Arc<App>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) params: Params,
    keys: CallerKeys,
}

impl Asking {
    /// Asks who is calling before anything is read.
    pub(super) async fn begin(request: &mut Request, depot: &mut Depot) -> Result<Self, ApiError> {
        caller::require_read(depot)?;
        let app = http::app::app(depot)?;
        let tenant = engine_tenant(&app, request, depot)?;
        let keys = caller::caller_keys(request, depot, Some(&tenant.name));
        let params = Params::read(&app, request).await?;
        Ok(Self {
            app,
            tenant,
            params,
            keys,
        })
    }

    /// Has `work` write an answer piece by piece on a thread that may block.
    pub(super) async fn write(
        self,
        request: &Request,
        response: &mut Response,
        content_type: &'static str,
        work: impl FnOnce(&Self, &mut Pieces) -> Result<(), Ended> + Send + 'static,
    ) -> Result<(), ApiError> {
        let (app, keys) = (Arc::clone(&self.app), self.keys.clone());
        let written = pieces::answer(
            &app,
            keys,
            (request, response),
            content_type,
            move |_, answer| work(&self, answer),
        );
        Ok(written.await?)
    }

    /// Has `work` done on a thread that may block, where expressions and selectors are read too: a
    /// pattern takes time to compile.
    pub(super) async fn work(
        self,
        work: impl FnOnce(&Self, &Working) -> Result<Finished, ApiError> + Send + 'static,
    ) -> Result<Finished, ApiError> {
        let (app, keys) = (Arc::clone(&self.app), self.keys.clone());
        let answered = app
            .questions
            .ask(keys, move |working| work(&self, working))
            .await?;
        match &answered {
            Err(ApiError::Eval(EvalError::Timeout)) => {
                app.telemetry.count_limit(Limit::QueryTimeout);
            }
            Err(ApiError::Eval(EvalError::TooManySamples)) => {
                app.telemetry.count_limit(Limit::QuerySamples);
            }
            _ => {}
        }
        answered
    }
}
