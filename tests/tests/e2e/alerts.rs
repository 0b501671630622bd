//! Alerts: tiers, notifiers, and the same rules in Prometheus.

mod admin;
mod agreement;
mod alertmanager;
mod disk;
mod full_run;
mod notifiers;
mod replicas;
mod shipping;
