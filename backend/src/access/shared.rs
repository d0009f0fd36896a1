//! What of those who may come in is all servers': tokens, sessions, tickets and admin links. Redis
//! has of every secret its digest and nothing else.
//!
//! Whoever asks is found out here before anything else is done, so nothing here waits for long:
//! each question has half a second, and none is asked while the others are known to be away.

mod asking;
mod links;
mod news;
mod table;
mod turns;
mod visits;

use std::sync::Arc;

use pulseboard_bus::{FeedKey, Kind, Subscription};

use self::{asking::Asking, news::Heard, turns::Turns};
pub use self::{
    asking::unavailable,
    links::SharedLinks,
    table::TokenTable,
    visits::{Redeemed, Visits},
};
use super::{held::Held, link::Links};
use crate::cluster::{Cluster, Standing};

/// What of those who may come in is all servers'.
#[derive(Debug)]
pub struct Shared {
    cluster: Arc<Cluster>,
    held: Arc<Held>,
    /// Tokens.
    pub tokens: Arc<TokenTable>,
    /// Sessions and tickets.
    pub visits: Visits,
    /// Links that make a browser admin.
    pub links: SharedLinks,
    heard: Arc<Heard>,
    _listening: Subscription,
}

impl Shared {
    /// Shares what is held over the bus of these servers.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, held: Arc<Held>, links: Arc<Links>) -> Self {
        let heard = Arc::<Heard>::default();
        let sink = Arc::clone(&heard) as Arc<_>;
        let asking = Asking::new(Arc::clone(&cluster));
        let turns = Arc::<Turns>::default();
        let tokens = Arc::new(TokenTable::new(asking.clone(), Arc::clone(&held)));
        let alike = held.tokens.alike().to_owned();
        cluster.common().say(|member| member.alike = alike);
        let clock = held.clock.clone();
        Self {
            links: SharedLinks::new(asking.clone(), links, Arc::clone(&turns), clock),
            visits: Visits::new(
                asking,
                Arc::clone(&held),
                Arc::clone(&tokens),
                Arc::clone(&heard),
                turns,
            ),
            tokens,
            _listening: cluster.bus().subscribe(FeedKey::own(Kind::Token), sink),
            heard,
            held,
            cluster,
        }
    }

    /// Returns when something was heard that [`Self::follow`] is to look at.
    pub async fn something(&self) {
        self.heard.something().await;
    }

    /// Takes in what others have changed, and looks again for what was not for a while; called each
    /// second, and when something was heard.
    pub async fn follow(&self) {
        self.visits.end_heard().await;
        let missed = self.heard.take_doubt();
        if missed {
            self.held.sessions.lock().doubt();
        }
        let anew = self.heard.take_tokens() || missed;
        if self.cluster.standing() != Standing::Joined {
            return;
        }
        if let Err(error) = self.tokens.follow(anew).await {
            tracing::debug!(%error, "tokens of other servers are looked at later");
        }
        if let Err(error) = self.visits.confirm().await {
            tracing::debug!(%error, "sessions are looked for later");
        }
    }

    /// Which other servers have other tokens in their settings.
    #[must_use]
    pub fn unlike(&self) -> Vec<String> {
        let own = self.held.tokens.alike();
        let view = self.cluster.view();
        let others = view
            .live
            .iter()
            .filter(|member| *member.id != **self.cluster.member());
        others
            .filter(|member| !member.alike.is_empty() && member.alike != own)
            .map(|member| member.instance.clone())
            .collect()
    }
}
