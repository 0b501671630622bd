//! Reports of a run and of a capacity search, for people and for machines.

pub mod baseline;
pub mod capacity;
pub mod html;
pub mod junit;
pub mod terminal;

mod assemble;
mod escape;
mod run_report;
mod summary;

pub use assemble::TestInfo;
pub use run_report::{
    Regression, Report, SenderSummary, SidecarSummary, Verdict, Versions, timestamp,
};
pub use summary::{HeatMap, LatencySummary, NameSummary, TimelinePoint};
