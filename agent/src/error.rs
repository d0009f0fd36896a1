//! Why an agent cannot start.

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The hub's address, its token or a certificate is none.
    #[error(transparent)]
    Outbound(#[from] pulseboard_outbound::Error),
    /// The log cannot be opened.
    #[error("the log of what is to be sent: {0}")]
    Log(#[from] pulseboard_history::log::LogError),
    /// Local applications cannot be listened to there.
    #[error("{name}: {why}")]
    Listen {
        /// The option.
        name: &'static str,
        /// Why not, in words.
        why: String,
    },
}
