//! How the store is told whose samples they are. In every way the label [`crate::TENANT_LABEL`]
//! says so, too, since only what is in a series can be looked at when it comes back.

use std::str::FromStr;

use pulseboard_forward::{Said, TENANT_IN_URL};
use pulseboard_outbound::HeaderName;

/// How the store is told whose samples they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// By the label alone.
    #[default]
    Label,
    /// By a header of each request, as Mimir, Cortex and Thanos have it.
    Header(HeaderName),
    /// By the address, where `{tenant}` stands in it, as VictoriaMetrics' cluster has it.
    Path,
}

/// It is none of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither label, header:NAME nor path")]
pub struct NoWay;

impl FromStr for Way {
    type Err = NoWay;

    fn from_str(text: &str) -> Result<Self, NoWay> {
        match text {
            "label" => Ok(Self::Label),
            "path" => Ok(Self::Path),
            text => {
                let name = text.strip_prefix("header:").ok_or(NoWay)?;
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_none| NoWay)?;
                Ok(Self::Header(name))
            }
        }
    }
}

impl Way {
    /// As `forward` has it.
    #[must_use]
    pub fn said(&self) -> Option<Said> {
        match self {
            Self::Label => None,
            Self::Header(name) => Some(Said::Header(name.clone())),
            Self::Path => Some(Said::Path),
        }
    }

    /// Whether an address can be used in this way.
    ///
    /// # Errors
    /// The tenant has no place in it, or one where nothing says it.
    pub fn check(&self, url: &str) -> Result<(), String> {
        match (self, url.contains(TENANT_IN_URL)) {
            (Self::Path, false) => Err(format!(
                "with ARCHIVE_TENANT=path, {TENANT_IN_URL} has to stand in the address for the tenant"
            )),
            (Self::Label | Self::Header(_), true) => Err(format!(
                "{TENANT_IN_URL} stands in the address, which needs ARCHIVE_TENANT=path"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read() {
        assert_eq!("label".parse(), Ok(Way::Label));
        assert_eq!("path".parse(), Ok(Way::Path));
        let name = HeaderName::from_static("x-scope-orgid");
        assert_eq!("header:X-Scope-OrgID".parse(), Ok(Way::Header(name)));
        for wrong in ["", "header:", "header:a b", "header", "tenant"] {
            assert_eq!(wrong.parse::<Way>(), Err(NoWay), "{wrong}");
        }
    }

    #[test]
    fn an_address_has_a_place_for_the_tenant_where_it_needs_one() {
        let with = "http://vm:8480/insert/{tenant}/prometheus/api/v1/write";
        assert!(Way::Path.check(with).is_ok() && Way::Label.check(with).is_err());
        let without = "http://vm:8428/api/v1/write";
        assert!(Way::Path.check(without).is_err() && Way::Label.check(without).is_ok());
    }
}
