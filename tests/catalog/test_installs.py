"""Other programs' installations are found, with the folders that they load from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from velatura.catalog import installs
from velatura.catalog.installs import count_adapters, find_installations, list_checkpoints
from velatura.catalog.programs import Installation, folder_at, recognise

Touch = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    return home


def touch(root: Path, *names: str, **texts: str) -> Path:
    """Make files, and folders where a name ends with a stroke."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    for text in texts:
        (root / text).write_text(texts[text])
    return root


def find(home: Path, **environment: str) -> list[Installation]:
    return find_installations(home=home, environment=environment, places=[home])


def names(folders: tuple[str, ...], root: Path) -> list[str]:
    return [Path(folder).relative_to(root.resolve()).as_posix() for folder in folders]


@pytest.mark.parametrize(
    ("program", "files", "adapters", "checkpoints"),
    [
        (
            "A1111",
            ("webui.py", "modules/", "models/Lora/", "models/LyCORIS/", "models/Stable-diffusion/"),
            ["models/Lora", "models/LyCORIS"],
            ["models/Stable-diffusion"],
        ),
        ("Forge", ("webui.py", "modules/", "modules_forge/", "models/Lora/"), ["models/Lora"], []),
        ("SD.Next", ("webui.py", "modules/", "installer.py", "models/Lora/"), ["models/Lora"], []),
        (
            "ComfyUI",
            ("folder_paths.py", "models/loras/", "models/checkpoints/"),
            ["models/loras"],
            ["models/checkpoints"],
        ),
        ("ComfyUI", ("custom_nodes/", "models/loras/"), ["models/loras"], []),
        ("Fooocus", ("fooocus_version.py", "models/loras/"), ["models/loras"], []),
        (
            "InvokeAI",
            ("invokeai.yaml", "models/sd-1/lora/", "models/sdxl/lora/", "models/sd-1/main/", "autoimport/lora/"),
            ["models/sd-1/lora", "models/sdxl/lora", "autoimport/lora"],
            ["models/sd-1/main"],
        ),
        ("InvokeAI", ("invokeai.yaml", "models/0b2f9a34-5c5e-4d1c-9d3e-2f0a1b2c3d4e/"), ["models"], []),
        (
            "SwarmUI",
            ("src/SwarmUI.csproj", "Models/Lora/", "Models/Stable-Diffusion/"),
            ["Models/Lora"],
            ["Models/Stable-Diffusion"],
        ),
        (
            "Stability Matrix",
            ("Data/Models/Lora/", "Data/Models/LyCORIS/", "Data/Models/StableDiffusion/"),
            ["Data/Models/Lora", "Data/Models/LyCORIS"],
            ["Data/Models/StableDiffusion"],
        ),
    ],
)
def test_program_is_known_by_its_folder(
    home: Path, program: str, files: tuple[str, ...], adapters: list[str], checkpoints: list[str]
) -> None:
    root = touch(home / "some name", *files)
    (found,) = find(home)
    assert (found.program, found.root) == (program, str(root))
    assert names(found.adapters, root) == adapters
    assert names(found.checkpoints, root) == checkpoints


def test_start_script_of_a1111_names_folders(home: Path) -> None:
    root = touch(home / "webui", "webui.py", "modules/", "models/Lora/")
    touch(home, "my loras/", "lyco/", "ckpt/", "no/", "data/models/Lora/")
    (root / "webui-user.sh").write_text(
        f'export COMMANDLINE_ARGS="--lora-dir={home}/lyco --ckpt-dir ~/ckpt --data-dir ../data"\n'
        f"#export COMMANDLINE_ARGS=\"--lora-dir '{home}/no'\"\n"
    )
    (root / "webui-user.bat").write_text(
        f'rem --lora-dir "{home}/no"\nset COMMANDLINE_ARGS=--lyco-dir "{home}/my loras"\n'
    )
    (found,) = find(home)
    assert names(found.adapters, home) == ["lyco", "my loras", "webui/models/Lora", "data/models/Lora"]
    assert names(found.checkpoints, home) == ["ckpt"]


def test_settings_of_sdnext_fooocus_and_swarm_name_folders(home: Path) -> None:
    touch(home, "shared/a/", "shared/b/", "shared/ckpt/", "models/Lora/", "models/loras/", "models/x/")
    next_ = touch(home / "next", "webui.py", "modules/", "installer.py")
    (next_ / "config.json").write_text(json.dumps({"lora_dir": "../shared/a", "ckpt_dir": "../shared/ckpt", "x": [1]}))
    fooocus = touch(home / "fooocus", "fooocus_version.py")
    (fooocus / "config.txt").write_text(json.dumps({"path_loras": ["..\\shared\\b", 3, None]}))
    swarm = touch(home / "swarm", "SwarmUI.sln", "Data/")
    (swarm / "Data" / "Settings.fds").write_text(
        f"Paths:\n\tModelRoot: Models;{home}/models\n\tSDLoraFolder: Lora;loras\n"
    )
    found = {one.program: names(one.adapters, home) for one in find(home)}
    assert found == {"Fooocus": ["shared/b"], "SD.Next": ["shared/a"], "SwarmUI": ["models/Lora", "models/loras"]}


def test_extra_paths_of_comfyui_are_read(home: Path) -> None:
    root = touch(home / "ComfyUI", "folder_paths.py", "models/loras/", "more/loras/")
    touch(home, "webui/models/Lora/", "webui/models/LyCORIS/", "webui/models/Stable-diffusion/")
    (root / "extra_model_paths.yaml").write_text(
        "a111:\n  base_path: ../webui/\n  checkpoints: models/Stable-diffusion\n"
        "  loras: |\n    models/Lora\n    models/LyCORIS\nown:\n  is_default: true\n  loras: more/loras\n"
        "other:\n  base_path: /nowhere\n  loras: loras\nlist: [1]\n"
    )
    (found,) = find(home)
    assert names(found.adapters, home) == [
        "ComfyUI/models/loras",
        "webui/models/Lora",
        "webui/models/LyCORIS",
        "ComfyUI/more/loras",
    ]
    assert names(found.checkpoints, home) == ["webui/models/Stable-diffusion"]


BOMB = "a: &a [x,x]\n" + "".join(f"k{n}: &k{n} {{<<: [*k{n - 1}, *k{n - 1}, *k{n - 1}]}}\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "text",
    [
        "loras: [",
        "- a\n- b",
        "x: !!python/object/apply:os.system ['touch owned']\n",
        "c:\n  base_path: 5\n  loras: {a: b}\n",
        'c:\n  loras: "a\\0b"\n',
        "c:\n  loras: " + "x" * 5000,
        "c:\n  loras: /\n",
        "c:\n  loras: ~\n",
        "c:\n  loras: ..\n",
        "[" * 5000,
        "k0: &k0 {a: b}\n" + BOMB,
        "x: " + "y" * 1_000_001,
    ],
    ids=range(12),
)
def test_hostile_settings_name_nothing(home: Path, text: str) -> None:
    root = touch(home / "ComfyUI", "folder_paths.py", "models/loras/")
    (root / "extra_model_paths.yaml").write_text(text)
    (found,) = find(home)
    assert names(found.adapters, root) == ["models/loras"]
    assert not Path("owned").exists()


def test_settings_that_are_no_text_name_nothing(home: Path) -> None:
    root = touch(home / "invoke", "models/sd-1/lora/", "databases/invokeai.db")
    (root / "invokeai.yaml").write_bytes(b"\xff\xfe\x00")
    (found,) = find(home)
    assert names(found.adapters, root) == ["models/sd-1/lora"]


def test_programs_name_their_places_in_the_settings_folder(home: Path) -> None:
    config = home / ".config"
    touch(config, "ComfyUI/", "comfy-cli/", "StabilityMatrix/")
    places = {name: home / "far" / "off" / name for name in ("desktop", "cli", "matrix", "invoke", "extra", "next")}
    touch(places["desktop"], "custom_nodes/", "models/loras/")
    touch(places["cli"], "folder_paths.py", "models/loras/")
    touch(places["matrix"], "Models/StableDiffusion/", "Models/Lora/", "Packages/forge/webui.py")
    touch(places["matrix"] / "Packages" / "forge", "modules/", "modules_forge/", "models/Lora/")
    touch(places["invoke"], "invokeai.yaml", "models/sdxl/lora/")
    touch(places["extra"], "loras/")
    touch(places["next"], "Lora/")
    (config / "ComfyUI" / "config.json").write_text(json.dumps({"basePath": str(places["desktop"])}))
    (config / "ComfyUI" / "extra_models_config.yaml").write_text(
        f"a:\n  base_path: {places['extra']}\n  loras: loras\n"
    )
    (config / "comfy-cli" / "config.ini").write_text(f"[DEFAULT]\ndefault_workspace = {places['cli']}\nx = %s\n")
    (config / "StabilityMatrix" / "library.json").write_text(json.dumps({"LibraryPath": str(places["matrix"])}))
    found = find(home, INVOKEAI_ROOT=str(places["invoke"]), SD_MODELSDIR=str(places["next"]), COMFYUI_PATH="nowhere")
    assert [(one.program, *names(one.adapters, home / "far" / "off")) for one in found] == [
        ("InvokeAI", "invoke/models/sdxl/lora"),
        ("SD.Next", "next/Lora"),
        ("ComfyUI", "desktop/models/loras"),
        ("ComfyUI", "extra/loras"),
        ("ComfyUI", "cli/models/loras"),
        ("Stability Matrix", "matrix/Models/Lora"),
        ("Forge", "matrix/Packages/forge/models/Lora"),
    ]


def test_folder_that_two_programs_share_is_named_once(home: Path) -> None:
    touch(home / "a", "folder_paths.py", "models/loras/", "models/checkpoints/")
    touch(home / "b", "webui.py", "modules/", "models/Stable-diffusion/")
    (home / "b" / "models" / "Lora").symlink_to(home / "a" / "models" / "loras")
    (home / "c").symlink_to(home / "a")
    touch(home / "portable" / "ComfyUI", "folder_paths.py", "models/loras/")
    found = [(Path(one.root).name, len(one.adapters), len(one.checkpoints)) for one in find(home)]
    assert found == [("a", 1, 1), ("b", 0, 1), ("ComfyUI", 1, 0)]


def test_place_that_cannot_be_read_is_passed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> list[Path]:
        raise PermissionError(path)

    assert recognise(home / "nothing") is None
    monkeypatch.setattr(os, "scandir", refuse)
    assert find(home / "x") == []
    monkeypatch.setattr(installs, "_MOUNTS", ())
    assert home in installs._usual_places(home)


def test_what_is_no_folder_is_none(home: Path) -> None:
    (home / "file").write_text("")
    for named in (None, 3, "", " ", "file", "no", "\0", "x" * 5000, "~nobody-of-that-name", "/", str(home)):
        assert folder_at(named, home) is None


def test_files_are_counted_and_checkpoints_listed(home: Path) -> None:
    touch(
        home / "ckpt",
        "b.safetensors",
        "sub/a.SAFETENSORS",
        "old.ckpt",
        "dif/model_index.json",
        "dif/unet/x.safetensors",
    )
    (home / "ckpt" / "b.safetensors").write_bytes(b"12345")
    assert count_adapters(str(home / "ckpt")) == 3
    listed = list_checkpoints([str(home / "ckpt"), str(home / "none")])
    assert [(Path(one.path).name, one.size) for one in listed] == [
        ("b.safetensors", 5),
        ("dif", 0),
        ("a.SAFETENSORS", 0),
    ]
