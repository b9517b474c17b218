//! Every integration test, in one program.

mod access;
mod audit;
mod bundles;
mod cells;
mod clients;
mod crossing;
mod desk;
mod durable;
mod generated;
mod governance;
mod governors;
mod hints;
mod intake;
mod keys;
mod linking;
mod live;
mod over_http;
mod personas;
mod proof;
mod published;
mod refused;
mod rights;
mod runs;
mod steward;
mod stored;
mod terminal;
