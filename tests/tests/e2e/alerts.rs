//! Alerts: the tiers, who is told, and the same in Prometheus.

mod admin;
mod agreement;
mod alertmanager;
mod disk;
mod notifiers;
mod replicas;
mod run;
mod shipping;
