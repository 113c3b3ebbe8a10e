//! Files that one command writes for other programs: whole or not at all, readable by few.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Puts `text` into the file `name` of `folder`, which is made if it is missing. Whoever opens the
/// file meanwhile sees what was there before, or all of the new.
///
/// # Errors
/// The folder cannot be made, or not be written to; the sentence says so.
pub(super) fn put(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let failed = |error: io::Error| {
        let path = folder.join(name);
        let refused = error.kind() == io::ErrorKind::PermissionDenied;
        let remedy = if refused {
            "; let this user write to the folder (in a container: the volume's owner is the owner \
             of the folder in the image)"
        } else {
            ""
        };
        format!("{} cannot be written: {error}{remedy}", path.display())
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let draft = folder.join(format!(".{name}.{}", std::process::id()));
    let written = write(&draft, text).and_then(|()| fs::rename(&draft, folder.join(name)));
    if let Err(error) = written {
        // What is left of it would be a secret that nobody looks after.
        let _gone: io::Result<()> = fs::remove_file(&draft);
        return Err(failed(error));
    }
    // The new name lasts when the folder was written down; a system that cannot do that for folders
    // has its own way.
    let _synced: io::Result<()> = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

fn write(draft: &Path, text: &str) -> io::Result<()> {
    let mut how = OpenOptions::new();
    let mut file = how.write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    // Its owner and its group read it, which is how the programs of a stack share it. After the
    // file was made, because what a new file gets is narrowed by the umask.
    file.set_permissions(Permissions::from_mode(0o440))?;
    file.sync_all()
}

/// The text of a file; `None` when there is none.
///
/// # Errors
/// It cannot be read; the sentence says so.
pub(super) fn read(path: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_read_by_few() {
        let folder = std::env::temp_dir().join(format!("mcpgw-files-{}", std::process::id()));
        let path = folder.join("a");
        assert_eq!(read(&path), Ok(None));
        for text in ["first", "second"] {
            put(&folder, "a", text).unwrap();
            assert_eq!(read(&path), Ok(Some(text.to_owned())));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o440);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_none_is_told() {
        let file = std::env::temp_dir().join(format!("mcpgw-files-none-{}", std::process::id()));
        fs::write(&file, "").unwrap();
        let told = put(&file, "a", "text").unwrap_err();
        fs::remove_file(&file).unwrap();
        assert!(told.contains("cannot be written"), "{told}");
    }
}
