//! The list of signature schemes, one line each.

use super::planned::{self, Planned};
use super::scheme::{Descriptor, SchemeSettings};
use super::{bearer, feishu, hmac, simple_sha256};

/// A scheme of the configuration.
#[derive(Clone, Copy)]
pub(crate) enum Listed {
    Built(&'static Descriptor),
    Planned(&'static Planned),
}

use Listed::{Built, Planned as Later};

static DINGTALK: Planned = Planned::secrets("dingtalk", Some("dingtalk"));
static SLACK: Planned = Planned::secrets("slack", Some("slack"));
static TELEGRAM: Planned = Planned::secrets("telegram", Some("telegram"));
static GITHUB: Planned = Planned::secrets("github", Some("github"));
static STRIPE: Planned = Planned::secrets("stripe", Some("stripe"));
static STANDARD_WEBHOOKS: Planned = Planned::secrets("standard_webhooks", None);
static LINE: Planned = Planned::secrets("line", Some("line"));

/// Every scheme, in the order in which documentation and schema name them.
pub(crate) static SCHEMES: [Listed; 17] = [
    Built(&hmac::SCHEME),
    Built(&bearer::SCHEME),
    Built(&feishu::SCHEME),
    Later(&planned::FEISHU_CARD),
    Later(&DINGTALK),
    Later(&planned::DINGTALK_EVENT),
    Later(&planned::WECOM),
    Later(&SLACK),
    Later(&TELEGRAM),
    Later(&planned::DISCORD),
    Later(&GITHUB),
    Later(&STRIPE),
    Later(&STANDARD_WEBHOOKS),
    Later(&LINE),
    Later(&planned::META),
    Built(&simple_sha256::SCHEME),
    Later(&planned::HTTP_MESSAGE_SIGNATURES),
];

impl Listed {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Built(descriptor) => descriptor.name,
            Later(planned) => planned.name,
        }
    }

    pub(crate) fn platform(&self) -> Option<&'static str> {
        match self {
            Built(descriptor) => descriptor.platform,
            Later(planned) => planned.platform,
        }
    }

    pub(crate) fn settings(&self) -> &'static SchemeSettings {
        match self {
            Built(descriptor) => &descriptor.settings,
            Later(planned) => &planned.settings,
        }
    }

    pub(crate) fn descriptor(&self) -> Option<&'static Descriptor> {
        match self {
            Built(descriptor) => Some(descriptor),
            Later(_) => None,
        }
    }
}

/// The schemes that this version signs and verifies.
pub(crate) fn built() -> impl Iterator<Item = &'static Descriptor> {
    SCHEMES.iter().filter_map(Listed::descriptor)
}

/// The scheme of this name.
pub(crate) fn named(name: &str) -> Option<&'static Listed> {
    SCHEMES.iter().find(|listed| listed.name() == name)
}
