//! `ketch testnet`: real processes, real libp2p, real stores, at small sizes. One at a time: six nodes
//! on two cores beside others would measure the others.

mod chains;
mod faults;
mod records;
mod run;
