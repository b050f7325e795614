"""No secret is written anywhere: a whole run with keys in the environment, servers that repeat them, and a search of
every byte that came of it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import logging
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
import torch
from batch_server import batch_server
from chat_server import chat_server, refused, said
from command_line import velatura
from leaks import files_under, leaks, spellings
from mcp import Client
from PIL import Image, PngImagePlugin
from playground_server import serving
from public_site import PUBLIC, Site, give, moved, running_site
from shelf import Given

from velatura.db import open_store
from velatura.fetching import run
from velatura.playground.library import weights_folder
from velatura.records import AdapterRecord, Hashes
from velatura.server.mcp.server import make

SECRETS = {
    "OPENAI_API_KEY": "sk-openai+velvet/Otter=1",
    "CIVITAI_API_TOKEN": "civitai+velvet/Heron=2",
    "HF_TOKEN": "hf_velvet/Marten=3+",
    "VELATURA_TOKEN": "server+velvet/Badger=4",
    "VELATURA_MILVUS_TOKEN": "milvus+velvet/Stoat=5",
    "a database's password": "velvet-Lynx-6",
    "a server's password": "velvet-Crane-7",
    "a signed address": "velvet-Wren-8",
}
DATABASE = f"postgresql://ada:{SECRETS['a database\'s password']}@127.0.0.1:1/loras" if False else ""
