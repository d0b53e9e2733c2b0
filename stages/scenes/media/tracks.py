"""The tracks of an open recording: which are read, in one pass, on one time axis, and what they lack."""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.stream import Disposition

from scenes.media.clock import LEAP, Clock
from scenes.media.faults import reading
from scenes.media.pictures import Picture, Viewing
from scenes.media.sound import Hearing, Sound
from scenes.stage.errors import InputError

# A file is refused when more than this part of each track that is wanted is missing or cannot be decoded.
UNREADABLE = 0.6
# Seconds, and part of its stated length, that a track may lack before it counts as truncated.
LACKING = 1, 0.05
# Formats whose headers state how long a track is; of others FFmpeg has to guess.
STATED = {"mov", "matroska", "flac", "avi", "asf", "w64", "caf", "aiff"}
# A moment so many seconds before the first frame has that one.
FIRST = Fraction(1, 2)
RETRIES = 10  # of a demuxer that fails, until the rest counts as unreadable
NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


class Media:
    """An open recording.

    Attributes
    ----------
    name : str
    seconds : float or None
        Its length, as its container states or FFmpeg guesses it.
    has_sound, has_pictures : bool
        Whether a track of it has a decoder; a cover is no video.
    channels : int
        Of its audio.
    streams : list of str
        Its tracks in words.
    warnings : list of str
        What was odd so far, a line each.
    """

    def __init__(self, name: str, container: av.container.InputContainer, share: float):
        self.name, self.container, self.share, self.warnings = name, container, share, []
        self.tracks = [s for s in container.streams if s.type in ("audio", "video") and not s.disposition & NO_VIDEO]
        self.sound, self.pictures = self._choose("audio"), self._choose("video")
        self.has_sound, self.has_pictures = self.sound is not None, self.pictures is not None
        self.seconds = container.duration / av.time_base if container.duration else None
        self.streams = [_described(stream) for stream in container.streams]
        self.clock = Clock(self.tracks)
        self.packets, self.damaged = dict.fromkeys(self.tracks, 0), dict.fromkeys(self.tracks, 0)

    @property
    def channels(self) -> int:
        return self.sound.codec_context.layout.nb_channels if self.sound else 0

    def _choose(self, kind: str) -> av.stream.Stream | None:
        """The default track of those with a decoder, else the first."""
        streams = [stream for stream in self.tracks if stream.type == kind]
        known = [stream for stream in streams if stream.codec_context]
        if streams and not known:
            self.warnings.append(f"{kind} skipped: FFmpeg has no decoder for it")
        return next((s for s in known if s.disposition & Disposition.default), known[0] if known else None)

    def blocks(
        self, *, sound: bool = True, pictures: bool = True, rate: int | None = None, until: float = math.inf
    ) -> Iterator[Sound | Picture]:
        """Read the tracks that are wanted, in one pass.

        Parameters
        ----------
        sound, pictures : bool
            What is wanted.
        rate : int or None
            Samples per second wanted; None for those of the track's beginning.
        until : float
            Seconds of audio that are enough.

        Yields
        ------
        Sound
            Audio from 0 on without a gap: silence where there is none.
        Picture
            A frame that stands until the next; the last one has no frame, and says until when the one before it stands.

        Raises
        ------
        InputError
            If too little can be read, a sample rate is absurd, or a sample is not a finite number.
        """
        seen = Viewing(self.pictures) if pictures and self.pictures else None
        heard = {self.sound: Hearing(self.name, rate)} if sound and self.sound else {}
        if heard:  # while the chosen track is silent, the others too: one may be the one that was meant
            heard |= {track: Hearing(self.name, None) for track in self.tracks
                      if track.type == "audio" and track.codec_context and track is not self.sound}  # fmt: skip
        if seen:
            self.pictures.thread_type = "AUTO"
        for track, packet in self._packets():
            if seen and track is self.pictures:
                for frame in self._decode(track, packet):
                    yield from seen.add(frame, self._time(track, frame))
            elif track in heard and (track is self.sound or heard[self.sound].silent):
                with reading(self.name):
                    for block in self._hear(heard[track], track, packet):
                        if track is self.sound:
                            yield block
                if heard[self.sound].end > until:
                    self._name_silent(heard)
                    self._judge({self.sound: heard[self.sound].end}, whole=False)
                    return
        ends = {}
        if heard:
            yield from heard[self.sound].close()
            ends[self.sound] = heard[self.sound].end
            self._name_silent(heard)
        if seen:
            ends[self.pictures] = self._end(seen)
            yield Picture(ends[self.pictures], None)
        self._judge(ends)

    def frames(
        self, until: Fraction, moments: Callable[[list[Fraction]], list[Fraction]]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Read the frames on screen at some moments, and decode no more than they need.

        Reading costs little but decoding, and about half the frames of a usual video are such that no other refers to
        them: those are left out, unless chosen, the last of the video, or without a time of their own.

        Parameters
        ----------
        until : Fraction
            Seconds on the axis that no moment exceeds.
        moments : callable
            From the times at which frames come on screen, those read until then, to the moments, in order.

        Yields
        ------
        int, VideoFrame
            The number of a moment, and its frame. A moment before the first frame has none, unless that one comes
            within half a second; nor has one after the last, unless none has any: then the first has the last frame.

        Raises
        ------
        InputError
            If too little can be read.
        """
        track, packets, whole = self.pictures, [], True
        bound = (until + self.clock.origin) / track.time_base
        for other, packet in self._packets():
            if other is track and packet:
                packets.append(packet)
                if packet.dts is not None and packet.dts > bound:
                    whole = False
                    break
        stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
        starts = [stamp * track.time_base - self.clock.origin for stamp in stamps]
        chosen = moments(starts)
        wanted = {
            None,
            *stamps[-1:],
            *(stamps[max(bisect_right(starts, moment) - 1, 0)] for moment in chosen if stamps),
        }
        number, before, seen = 0, None, Viewing(track)
        for packet in (*packets, None):
            track.codec_context.skip_frame = "DEFAULT" if packet is None or packet.pts in wanted else "NONREF"
            for frame in self._decode(track, packet):
                for picture in seen.add(frame, self._time(track, frame)):
                    while number < len(chosen) and chosen[number] < picture.since:
                        if before or picture.since - chosen[number] < FIRST:
                            yield number, before or picture.frame
                        number += 1
                    before = picture.frame
            if number == len(chosen):
                self._judge({track: seen.last}, whole=False)
                return
        end = self._end(seen)
        self._judge({track: end}, whole)
        for last in range(number, len(chosen)):
            if before and (chosen[last] < end or last == 0):
                yield last, before

    def _packets(self) -> Iterator[tuple[av.stream.Stream, av.Packet | None]]:
        """All packets of audio and video in the file's order, on the axis; None ends a track."""
        failures = 0
        demuxed = self.container.demux(self.tracks) if self.tracks else iter(())
        while failures < RETRIES:
            try:
                packet = next(demuxed, None)
            except Exception:  # a demuxer goes on behind what it cannot read, or fails again
                failures += 1
                demuxed = self.container.demux(self.tracks)
                continue
            if packet is None:
                break
            if packet.size:
                failures = 0
                self.clock.place(packet)
                yield packet.stream, packet
        for at, ahead in self.clock.leaps:
            self._warn(f"timestamps jump by {float(ahead):.0f} s at {float(at):.0f} s, shortened to {LEAP} s")
        yield from ((track, None) for track in self.tracks)

    def _decode(self, track: av.stream.Stream, packet: av.Packet | None) -> list:
        """The frames of a packet, none of a damaged one."""
        self.packets[track] += packet is not None
        try:
            return track.decode(packet)
        except Exception:
            self.damaged[track] += packet is not None
            return []

    def _hear(self, hearing: Hearing, track: av.stream.Stream, packet: av.Packet | None) -> Iterator[Sound]:
        bad = self.damaged[track]
        for frame in self._decode(track, packet):
            time = self._time(track, frame)
            yield from hearing.add(frame, None if time is None else float(time))
        hearing.torn = hearing.torn or self.damaged[track] > bad

    def _time(self, track: av.stream.Stream, frame: av.frame.Frame) -> Fraction | None:
        return None if frame.pts is None else frame.pts * track.time_base - self.clock.origin

    def _end(self, seen: Viewing) -> Fraction:
        if seen.timeless:
            self._warn(f"video has no timestamps, assuming {float(seen.rate):g} frames per second")
        return seen.end(self.stated(self.pictures), max(Fraction(self.clock.latest), seen.last + LEAP))

    def stated(self, track: av.stream.Stream) -> Fraction | None:
        """When a track ends, in seconds on the axis, as the header says; None where it does not."""
        if not self._honest():
            return None
        if track.duration:
            return ((track.start_time or 0) + track.duration) * track.time_base - self.clock.origin
        if parts := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", track.metadata.get("DURATION", "")):
            hours, minutes, seconds = map(Fraction, parts.groups())
            return 3600 * hours + 60 * minutes + seconds - self.clock.origin
        return None

    def _honest(self) -> bool:
        return not self.clock.moved and self.container.format.name.partition(",")[0] in STATED

    def _missing(self, track: av.stream.Stream, end: float | Fraction) -> float | Fraction | None:
        """The stated end of a track that lacks more of it than a rounding, if it does."""
        if self.share < 1:
            stated = end / self.share
        elif (stated := self.stated(track)) is None and self._honest():
            # The container ends with its longest track, which may be another one.
            stated, end = Fraction(self.container.duration or 0, av.time_base), self.clock.latest
        return stated if stated and stated - end > max(LACKING[0], LACKING[1] * stated) else None

    def _judge(self, ends: dict[av.stream.Stream, float | Fraction], whole: bool = True) -> None:
        """Warn of what is missing or damaged in the wanted tracks; refuse the file if too much of each is.

        `ends` are the seconds at which the tracks ended or, if not `whole`, up to which they were read.
        """
        faults, useless = [], []
        for track, end in ends.items():
            bad, count = self.damaged[track], max(1, self.packets[track])
            if short := self._missing(track, end) if whole else None:
                faults.append(f"truncated: {track.type} ends at {float(end):.0f} of {float(short):.0f} s")
            if bad:
                faults.append(f"damaged: skipped {bad} of {count} {track.type} packets")
            if not end and not faults:
                faults.append(f"contains no {track.type}")
            useless.append(not end or bad > UNREADABLE * count or (short and end < (1 - UNREADABLE) * short))
        if ends and all(useless):
            raise InputError(f"{self.name}: {'; '.join(faults)}; restore it or remove its clip from the setup file")
        self.warnings += faults

    def _name_silent(self, heard: dict[av.stream.Stream, Hearing]) -> None:
        numbers = {track: number for number, track in enumerate((t for t in self.tracks if t.type == "audio"), 1)}
        loud = [numbers[track] for track, hearing in heard.items() if not hearing.silent]
        if heard[self.sound].silent and loud:
            self._warn(f"audio track {numbers[self.sound]} is used and silent, but track {loud[0]} is not")

    def _warn(self, line: str) -> None:
        self.warnings.append(line)


def _described(stream: av.stream.Stream) -> str:
    context = stream.codec_context
    if context is None:
        return f"{stream.type} without a decoder"
    if stream.type == "video":
        return f"video {context.name} {context.width}x{context.height}"
    if stream.type == "audio":
        return f"audio {context.name} {context.sample_rate} Hz {context.layout.name}"
    return stream.type
