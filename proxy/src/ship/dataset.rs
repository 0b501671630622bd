//! The datasets that are shipped: each goes to its own data stream, through the same spool.

use serde_json::json;

/// The dataset of an event (`event.dataset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dataset {
    /// `weir.access`: request events.
    Access = 0,
    /// `weir.alert`: alert transitions.
    Alert = 1,
}

impl Dataset {
    pub const ALL: [Dataset; 2] = [Dataset::Access, Dataset::Alert];

    /// Its encoding in a segment of the spool.
    pub(super) const fn byte(self) -> u8 {
        self as u8
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|dataset| dataset.byte() == byte)
    }

    /// The data stream of this dataset; `access` is that of requests. For `logs-weir.access-default`, alerts go to
    /// `logs-weir.alert-default`.
    #[must_use]
    pub fn data_stream(self, access: &str) -> String {
        match self {
            Dataset::Access => access.to_owned(),
            Dataset::Alert => {
                let mut parts = access.splitn(3, '-');
                let kind = parts.next().unwrap_or("logs");
                let namespace = parts.nth(1).unwrap_or("default");
                format!("{kind}-weir.alert-{namespace}")
            }
        }
    }

    /// The mappings of its documents: the body of a component template.
    pub(super) const fn mappings(self) -> &'static str {
        match self {
            Dataset::Access => include_str!("../../../deploy/elasticsearch/mappings.json"),
            Dataset::Alert => include_str!("../../../deploy/elasticsearch/alert-mappings.json"),
        }
    }

    /// The member that names its data stream in an action of a bulk request; empty for the one in the path.
    pub(super) fn index_member(self, access: &str) -> String {
        match self {
            Dataset::Access => String::new(),
            Dataset::Alert => format!("\"_index\":{},", json!(self.data_stream(access))),
        }
    }
}

/// One value per dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerDataset<T> {
    pub access: T,
    pub alert: T,
}

impl<T> PerDataset<T> {
    pub fn make(mut make: impl FnMut(Dataset) -> T) -> Self {
        PerDataset {
            access: make(Dataset::Access),
            alert: make(Dataset::Alert),
        }
    }

    #[must_use]
    pub fn of(&self, dataset: Dataset) -> &T {
        match dataset {
            Dataset::Access => &self.access,
            Dataset::Alert => &self.alert,
        }
    }

    pub fn of_mut(&mut self, dataset: Dataset) -> &mut T {
        match dataset {
            Dataset::Access => &mut self.access,
            Dataset::Alert => &mut self.alert,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alert_data_stream_is_derived_from_that_of_requests() {
        for (access, alert) in [
            ("logs-weir.access-default", "logs-weir.alert-default"),
            ("logs-weir.access-a-b", "logs-weir.alert-a-b"),
            ("other", "other-weir.alert-default"),
        ] {
            assert_eq!(Dataset::Access.data_stream(access), access);
            assert_eq!(Dataset::Alert.data_stream(access), alert);
        }
        let member = Dataset::Alert.index_member("a\"-b-c");
        assert_eq!(member, r#""_index":"a\"-weir.alert-c","#);
        assert_eq!(Dataset::Access.index_member("logs-weir.access-c"), "");
    }

    #[test]
    fn datasets_are_encoded_as_bytes() {
        for dataset in Dataset::ALL {
            assert_eq!(Dataset::from_byte(dataset.byte()), Some(dataset));
        }
        assert_eq!(Dataset::from_byte(2), None);
    }
}
