//! A small disk of the test's own, to be filled up and emptied again.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A file system in memory; unmounted when dropped.
pub(crate) struct Disk(TempDir);

impl Disk {
    /// Mounts it, for which one has to be root: a test that can't have it fails.
    pub(crate) fn mount(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A server's own user passes through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let options = format!("size={mebibytes}m,mode=711");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "redrive-test"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(
            mounted.status.success(),
            "a tmpfs can't be mounted, which takes root: {mounted:?}"
        );
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        for piece in [64 * 1024, 4 * 1024, 1] {
            let piece = vec![0; piece];
            while filler.write_all(&piece).is_ok() {}
        }
    }

    /// Gives it back.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there must not keep it for ever.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        drop(unmounted);
    }
}
