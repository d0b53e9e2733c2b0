"""Finding recordings in folders: which files are films or sound files, and which are left out."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scenes.stage.errors import InputError


def _endings(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


# The endings that FFmpeg's demuxers claim, or whose content they recognise. Not taken, though claimed: pictures
# (.avif, .gif), text and subtitles (.txt, .srt), samples without any header (.yuv, .sw), and endings that mostly mean
# something else (.dat, .str, .bit). The kind tells only which of two files of one name is the film; what a file
# really holds is found when it is read.
VIDEO_FILES = _endings("""
    264 265 266 3g2 3gp 3gpp amv anm apv asf av1 avc avi avs avs2 avs3 bik bmv cavs cdg cdxl cine dav dif
    dirac divx dnxhd drc dv dvr-ms evc evo f4v flc fli flm flv gxf h261 h263 h264 h265 h266 h26l hevc ifv
    imx ipu ism ismv ivf ivr kux lvf lxf m1v m2p m2t m2ts m2v m4v mj2 mjpeg mjpg mk3d mkv mlv mod mods
    moflex mov mp4 mpe mpeg mpg mpv mts mvi mxf mxg nsv nut nuv obu ogm ogv pdv psp pva qt rcv rm rmvb roq
    sdr2 ser sga smk swf tod ts ty ty+ usm vc1 viv vob vvc webm wmv wtv xmv y4m yop
""")
SOUND_FILES = _endings("""
    722 8svx aa aa3 aac aax ac3 ac4 acm adp ads adts adx aea afc aif aifc aiff aix al amr apc ape apl aptx
    aptxhd ast au avr awb bcstm bfstm binka bonk brstm bwf c2 caf cdata daud dff dfpwm dsf dss dtk dts dtshd
    eac3 ec3 epaf f4a f4b fap flac fsb fwse g722 g723_1 g728 g729 genh gsm hca iamf ircam isma laf latm lc3
    loas m1a m2a m4a m4b m4r mac mca mka mlp mp+ mp2 mp3 mpa mpc msbc msf mtaf musx nist nsp oga ogg oma omg
    opus osq paf pvf qcp qoa ra rco redspark rf64 rka rsd rso sbc sdns sds sdx sf shn sln snd son sox sph
    spx ss2 svag svs tak tco thd truehd tta ul vag voc vpk vqe vqf vql w64 wa wav wave way weba wma wsd wv
    wve xma xmd xvag xwma
""")
LONGEST = 52  # bytes of one word of a name: four of them, a number and an ending fit into the 255 of file systems


class Found(NamedTuple):
    """The films and sound files of a folder, and the files that are left out, by the reason."""

    files: list[Path]
    left_out: dict[str, list[Path]]

    def leave_out(self, reason: str, path: Path) -> None:
        self.left_out.setdefault(reason, []).append(path)

    def told(self) -> str:
        """One line that counts what is left out: `.jpg (3), broken links (1); first: ...`; empty for nothing."""
        first = min((path for paths in self.left_out.values() for path in paths), default=None)
        counts = ", ".join(f"{reason} ({len(paths)})" for reason, paths in sorted(self.left_out.items()))
        return f"{counts}; first: {first}" if first else ""


def find_media(folder: Path) -> Found:
    """Find the films and sound files in a folder and the folders below it, by their endings in upper or lower case.

    Linked folders are followed, except into a folder that contains the link. Names that begin with a dot are skipped:
    hidden files, and those (`._x`) in which macOS keeps a file's attributes.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; pass a folder of recordings")
    found = Found([], {})
    for path in _walk(folder, (folder.resolve(),), found):
        if path.suffix.lower() in VIDEO_FILES | SOUND_FILES:
            found.files.append(path)
        else:
            found.leave_out(path.suffix.lower() or "no extension", path)
    found.files.sort()
    return found


def _walk(folder: Path, above: tuple[Path, ...], found: Found) -> Iterator[Path]:
    """Every file below a folder; `above` are the real folders from the first one to this one."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        found.leave_out("unreadable folders", folder)
        return
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        if os.path.isdir(path):  # also where entry.is_dir would raise, for a link to itself
            real = path.resolve()
            if real in above:
                found.leave_out("links to a parent folder", path)
            else:
                yield from _walk(path, (*above, real), found)
        elif os.path.isfile(path):
            yield path
        else:
            found.leave_out("broken links" if entry.is_symlink() else "devices or pipes", path)


def shorten(word: str, longest: int = LONGEST) -> str:
    """A word of at most so many bytes: the end of a longer one is replaced by a hash of the whole."""
    content = word.encode(errors="surrogateescape")
    if len(content) <= longest:
        return word
    digest = hashlib.sha256(content).hexdigest()[:8]
    return content[: longest - 9].decode(errors="ignore") + "_" + digest
