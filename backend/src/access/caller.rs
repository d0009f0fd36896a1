//! Who somebody is.

use pulseboard_shared::Role;

use super::{session::SessionId, token::TokenId};

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What they may do.
    pub role: Role,
    /// The tenant that their token is bound to, if any.
    pub tenant: Option<String>,
    /// Whether they showed a token; decides between 401 and 403.
    pub known: bool,
    /// What their rights hang on; a stream ends when that does.
    pub credential: Credential,
}

/// What a caller's rights hang on: withdrawing the token or ending the session ends what was
/// opened with it. Both are `None` for anonymous callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// The token shown, or that the session was opened with.
    pub token: Option<TokenId>,
    /// The session.
    pub session: Option<SessionId>,
}
