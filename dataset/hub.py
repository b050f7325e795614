"""Datasets on a hub: pushed there and pulled from there, whole and checked, when somebody asks for it.

The client takes its token from `HF_TOKEN` or its own store, and the hub from `HF_ENDPOINT`; neither is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import InputError, SourceError, SourceUnavailable, VelaturaError
from .manifest import LONGEST, NAME, Manifest, check_files, is_known, parse_manifest, read_manifest

_REPOSITORY: Final = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION: Final = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
_KIND: Final = "dataset"
_OURS: Final = ["adapters*.parquet", "embeddings-*.safetensors"]

Progress = Callable[[str, int, int], None]
"""Told (what, bytes done, bytes in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubReport:
    """What was pushed or pulled."""

    repository: str
    commit: str
    folder: str
    adapters: int
    files: int
    bytes: int
    is_private: bool


def push_dataset(
    folder: str | Path,
    repository: str,
    *,
    revision: str | None = None,
    public: bool = False,
    api: Any = None,
    progress: Progress | None = None,
) -> HubReport:
    """Put a dataset into a repository of the hub, in one commit; files of an older one that it lacks are taken out.

    Args:
        folder: The dataset. Each file is first held against the manifest, and nothing else in the folder is sent.
        repository: `name` or `owner/name`; made if it is not there.
        revision: The branch, made if it is not there; None for the main one.
        public: Whether everybody may see it. A repository that is public already is only written to with this.
        api: A `huggingface_hub.HfApi`; a new one for None.
        progress: Told how much is checked.

    Raises:
        InputError: It is no dataset, or not whole; the name is none; the repository is public and `public` is off.
        SourceError: The hub refuses, or does not answer.
    """
    path = Path(folder).expanduser()
    manifest = read_manifest(path)
    _check_names(repository, revision)
    _check(path, manifest, progress)
    hub = api or _api()
    with _errors(repository):
        is_private = _open(hub, repository, public=public)
        if revision is not None:
            hub.create_branch(repository, branch=revision, repo_type=_KIND, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository,
            repo_type=_KIND,
            folder_path=str(path),
            allow_patterns=[NAME, *(file.name for file in manifest.files)],
            delete_patterns=_OURS,
            revision=revision,
            commit_message=f"{manifest.adapters:,} adapters",
        )
    return _report(repository, str(done.oid), path, manifest, is_private=is_private)


def pull_dataset(
    repository: str,
    folder: str | Path,
    *,
    revision: str | None = None,
    api: Any = None,
    progress: Progress | None = None,
) -> HubReport:
    """Bring a dataset from the hub into a folder; an interrupted run goes on where it was.

    Only the files that the format has are asked for, one by one, and only where the hub tells the size that the
    manifest does; their digests are checked at the end.

    Args:
        repository: `name` or `owner/name`.
        folder: A folder that is empty, not there, or holds nothing but a dataset.
        revision: A branch, a tag or a commit; None for the main branch.
        api: A `huggingface_hub.HfApi`; a new one for None.
        progress: Told how much is here.

    Raises:
        InputError: The name is none, the folder holds something else, or what came is no dataset.
        SourceError: The hub refuses, or does not answer.
    """
    path = Path(folder).expanduser()
    _check_names(repository, revision)
    _check_folder(path)
    hub = api or _api()
    with _errors(repository):
        told = hub.dataset_info(repository, revision=revision, files_metadata=True)
        sizes: dict[str, int | None] = {file.rfilename: file.size for file in told.siblings or ()}
        if NAME not in sizes or (sizes[NAME] or 0) > LONGEST:
            raise InputError(f"{repository} holds no dataset of this format: there is no {NAME} in it")

        def fetch(name: str) -> Path:
            return Path(hub.hf_hub_download(repository, name, repo_type=_KIND, revision=told.sha, local_dir=str(path)))

        manifest = parse_manifest(fetch(NAME).read_bytes(), NAME)
        for file in manifest.files:
            if sizes.get(file.name) != file.bytes:
                raise InputError(f"{repository} has another {file.name} than its manifest tells of, or none")
        whole, done = sum(file.bytes for file in manifest.files), 0
        for file in manifest.files:
            if progress is not None:
                progress(file.name, done, whole)
            fetch(file.name)
            done += file.bytes
    wanted = {NAME, *(file.name for file in manifest.files)}
    for old in path.iterdir():
        if is_known(old.name) and old.name not in wanted:
            old.unlink()
    _check(path, manifest, progress)
    return _report(repository, str(told.sha), path, manifest, is_private=bool(told.private))


def _open(hub: Any, repository: str, *, public: bool) -> bool:
    """Make the repository if it is not there; return whether it is private."""
    hub.create_repo(repository, repo_type=_KIND, private=not public, exist_ok=True)
    is_private = bool(hub.dataset_info(repository).private)
    if not is_private and not public:
        raise InputError(f"{repository} is public; give --public to let everybody see the dataset")
    return is_private


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi()


@contextmanager
def _errors(repository: str) -> Iterator[None]:
    """Put what the client raises into a sentence, in which there is nothing of its own: that may hold a token."""
    try:
        yield
    except VelaturaError:
        raise
    except Exception as error:  # the client's errors are OSErrors, those of the transport below it are its own
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise SourceError(f"the hub does not let you at {repository} (HTTP {status}); is HF_TOKEN set?") from None
        if status == 404:
            raise SourceError(f"there is no dataset {repository}, or not this revision, that you may see") from None
        if isinstance(status, int) and status != 429 and status < 500:
            raise SourceError(f"the hub refuses (HTTP {status})") from None
        trouble = f"HTTP {status}" if status else type(error).__name__
        raise SourceUnavailable(f"the hub does not answer ({trouble}); the same command goes on later") from None


def _check_names(repository: str, revision: str | None) -> None:
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise InputError("a repository is named `owner/name`, in letters, digits, dots, dashes and underscores")
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InputError("a revision is a branch, a tag or a commit")


def _check_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        others = [one.name for one in path.iterdir() if not one.name.startswith(".") and not is_known(one.name)]
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    if others:
        raise InputError(f"{path} holds something else than a dataset; name another folder")


def _check(path: Path, manifest: Manifest, progress: Progress | None) -> None:
    whole, done = sum(file.bytes for file in manifest.files), 0
    for _, size in check_files(path, manifest):
        done += size
        if progress is not None:
            progress("checked", done, whole)


def _report(repository: str, commit: str, path: Path, manifest: Manifest, *, is_private: bool) -> HubReport:
    return HubReport(
        repository=repository,
        commit=commit,
        folder=str(path),
        adapters=manifest.adapters,
        files=len(manifest.files) + 1,
        bytes=sum(file.bytes for file in manifest.files) + (path / NAME).stat().st_size,
        is_private=is_private,
    )
