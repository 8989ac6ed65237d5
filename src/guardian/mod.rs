//! The parent that outlives the daemon and keeps its descriptors.
pub struct Keeper;
impl Keeper {
    pub fn from_env() -> Option<Keeper> {
        None
    }
    pub fn put(&self, _n: &str, _f: &impl std::os::fd::AsFd) {}
    pub fn forget(&self, _n: &str) {}
    pub fn display_pid(&self) -> u32 {
        0
    }
    pub fn take_all(&self, _d: std::time::Duration) -> std::io::Result<Vec<(String, std::os::fd::OwnedFd)>> {
        Ok(vec![])
    }
}
