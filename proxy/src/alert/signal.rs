//! What a rule measures, and over which traffic.

use super::per::Per;
use super::window::Window;
use crate::alert::snapshot::Snapshot;

/// What is measured. Shares are from 0 to 1, times are in seconds, the rest are counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    ErrorRate,
    ResponseTime(Statistic),
    FirstTokenP99,
    DiskUsage,
    CpuUsage,
    MemoryUsage,
    RateLimitedShare,
    SignatureFailureShare,
    CacheHitRatio,
    SpoolOldest,
    EventsDropped,
    DependencyDown,
}

/// What is taken of many durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistic {
    P50,
    P95,
    P99,
    Mean,
}

impl Statistic {
    /// Which quantile it is, where it is one.
    #[must_use]
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Statistic::P50 => Some(0.5),
            Statistic::P95 => Some(0.95),
            Statistic::P99 => Some(0.99),
            Statistic::Mean => None,
        }
    }
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Share,
    Seconds,
    Count,
}

impl Unit {
    /// A figure as people write it.
    #[must_use]
    pub fn show(self, figure: f64) -> String {
        match self {
            Unit::Share => format!("{} %", short(figure * 100.0)),
            Unit::Seconds if figure.abs() < 1.0 => format!("{} ms", short(figure * 1000.0)),
            Unit::Seconds => format!("{} s", short(figure)),
            Unit::Count => short(figure),
        }
    }
}

/// Two places after the point, without zeros at the end.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Signal {
    /// As the configuration names it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Signal::ErrorRate => "error_rate",
            Signal::ResponseTime(Statistic::P50) => "response_time_p50",
            Signal::ResponseTime(Statistic::P95) => "response_time_p95",
            Signal::ResponseTime(Statistic::P99) => "response_time_p99",
            Signal::ResponseTime(Statistic::Mean) => "response_time_mean",
            Signal::FirstTokenP99 => "first_token_p99",
            Signal::DiskUsage => "disk_usage",
            Signal::CpuUsage => "cpu_usage",
            Signal::MemoryUsage => "memory_usage",
            Signal::RateLimitedShare => "rate_limited_share",
            Signal::SignatureFailureShare => "signature_failure_share",
            Signal::CacheHitRatio => "cache_hit_ratio",
            Signal::SpoolOldest => "spool_oldest",
            Signal::EventsDropped => "events_dropped",
            Signal::DependencyDown => "dependency_down",
        }
    }

    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Signal::ErrorRate
            | Signal::DiskUsage
            | Signal::CpuUsage
            | Signal::MemoryUsage
            | Signal::RateLimitedShare
            | Signal::SignatureFailureShare
            | Signal::CacheHitRatio => Unit::Share,
            Signal::ResponseTime(_) | Signal::FirstTokenP99 | Signal::SpoolOldest => Unit::Seconds,
            Signal::EventsDropped | Signal::DependencyDown => Unit::Count,
        }
    }

    /// Whether it is counted on requests; then it can be told apart by what they have.
    #[must_use]
    pub const fn is_of_requests(self) -> bool {
        matches!(
            self,
            Signal::ErrorRate
                | Signal::ResponseTime(_)
                | Signal::FirstTokenP99
                | Signal::RateLimitedShare
                | Signal::SignatureFailureShare
                | Signal::CacheHitRatio
        )
    }

    /// Whether it has a value for each of these. What ends before a backend is asked has none of it,
    /// and no model.
    #[must_use]
    pub const fn can_be_per(self, per: Per) -> bool {
        match self {
            Signal::ErrorRate | Signal::ResponseTime(_) | Signal::FirstTokenP99 => true,
            Signal::RateLimitedShare | Signal::SignatureFailureShare | Signal::CacheHitRatio => {
                matches!(per, Per::Route | Per::Platform)
            }
            _ => false,
        }
    }

    /// Its figure over what a window holds; `None` when that is fewer than `minimum` requests, or none.
    #[must_use]
    pub fn of_window(self, window: &Window, minimum: u64) -> Option<f64> {
        let counts = window.counts();
        let requests = window.durations().total();
        let share = |part: u64, all: u64| {
            (all > 0 && all >= minimum).then(|| part.min(all) as f64 / all as f64)
        };
        match self {
            Signal::ErrorRate => share(counts.failed, requests),
            Signal::RateLimitedShare => share(counts.rate_limited, requests),
            Signal::SignatureFailureShare => share(counts.unsigned, requests),
            Signal::CacheHitRatio => {
                share(counts.cache_hits, counts.cache_hits + counts.cache_misses)
            }
            Signal::ResponseTime(statistic) if requests >= minimum => match statistic.quantile() {
                Some(q) => window.durations().quantile_s(q),
                None => {
                    (requests > 0).then(|| counts.duration_sum_us as f64 / 1e6 / requests as f64)
                }
            },
            Signal::FirstTokenP99 if window.first_tokens().total() >= minimum => {
                window.first_tokens().quantile_s(0.99)
            }
            Signal::EventsDropped => Some(counts.events_dropped as f64),
            _ => None,
        }
    }

    /// Its figure of this moment, and what it is about; `None` where it is not of a moment, or has no
    /// source.
    #[must_use]
    pub fn of_moment(self, snapshot: &Snapshot) -> Option<(f64, Option<String>)> {
        let plain = |figure: f64| (figure, None);
        match self {
            Signal::CpuUsage => snapshot.system.cpu_ratio.map(plain),
            Signal::MemoryUsage => snapshot.system.memory_ratio.map(plain),
            Signal::DiskUsage => {
                let disks = snapshot.system.disks.iter();
                let fullest =
                    disks.max_by(|one, other| one.used_ratio.total_cmp(&other.used_ratio));
                fullest.map(|disk| (disk.used_ratio, Some(disk.mount.clone())))
            }
            Signal::SpoolOldest => snapshot.spool_oldest.map(|age| plain(age.as_secs_f64())),
            Signal::DependencyDown => {
                let down = snapshot.dependencies_down.len();
                let names = (down > 0).then(|| snapshot.dependencies_down.join(", "));
                Some((down as f64, names))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_people_write_them() {
        assert_eq!(Unit::Share.show(0.0312), "3.12 %");
        assert_eq!(Unit::Share.show(1.0), "100 %");
        assert_eq!(Unit::Seconds.show(0.5), "500 ms");
        assert_eq!(Unit::Seconds.show(1.5), "1.5 s");
        assert_eq!(Unit::Count.show(3.0), "3");
        assert_eq!(Unit::Count.show(0.0), "0");
    }

    #[test]
    fn moments_are_of_the_worst_and_say_which() {
        use crate::system::{Disk, Reading};
        let disk = |mount: &str, used_ratio| Disk {
            mount: mount.to_owned(),
            used_ratio,
        };
        let snapshot = Snapshot {
            system: Reading {
                disks: vec![disk("/", 0.2), disk("/data", 0.9), disk("/b", 0.5)],
                ..Reading::example()
            },
            dependencies_down: vec!["otlp".to_owned()],
            ..Snapshot::default()
        };
        let of = |signal: Signal| signal.of_moment(&snapshot);
        assert_eq!(of(Signal::DiskUsage), Some((0.9, Some("/data".to_owned()))));
        let otlp = Some("otlp".to_owned());
        assert_eq!(of(Signal::DependencyDown), Some((1.0, otlp)));
        assert_eq!(of(Signal::CpuUsage), Some((0.25, None)));
        assert_eq!(of(Signal::SpoolOldest), None);
        assert_eq!(of(Signal::ErrorRate), None);
    }
}
