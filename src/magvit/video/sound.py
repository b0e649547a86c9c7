"""The sound of a source, copied packet by packet into a file that is being written."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

from magvit.video.reading import opened
from magvit.video.source import Source
from magvit.video.writing import plain_errors

ENCODERS = {"mp4": "aac", "webm": "libopus"}
"""What encodes the sound that a container cannot hold as it is; Matroska holds any."""

_RATES = {"aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000), "libopus": (48000,)}


class Sound:
    """All sound streams of a source from one second to another, for an output whose header is not yet written.

    To the end of the pictures is to the end of the sound, which is often a little later. Packets are copied as they
    are, those at the ends whole; their times are moved, so that sound and pictures stay together. In MP4 the packet
    before them is copied too, which players decode and do not let be heard. Only a codec that the container cannot
    hold is decoded and encoded anew.
    """

    def __init__(self, output: Any, source: Source, start: Fraction, duration: Fraction):
        self.output, self.path = output, source.path
        self.begin = source.first_time + start
        self.end = self.begin + duration if start + duration < source.duration - 0.001 else math.inf
        self.unheard = output.format.name == "mp4"  # it can say what not to play
        with ExitStack() as resources:
            self.container, _ = resources.enter_context(opened(source.path, threads=1))
            streams = [stream for stream in self.container.streams.audio if stream.codec_context is not None]
            self.tracks = {stream.index: _track(output, stream) for stream in streams}
            self.packets = self._packets(streams)
            self.next = next(self.packets, None)
            self.close = resources.pop_all().close

    def write_until(self, second: Fraction | None = None) -> None:
        """Write the packets up to a second of the output, or all: between the pictures, so that none have to wait."""
        while self.next is not None:
            packet = self.next
            if second is not None and packet.pts * packet.time_base > second:
                return
            self.output.mux(packet)
            self.next = next(self.packets, None)

    def _packets(self, streams: list[Any]) -> Iterator[Any]:
        """Packets for the output, with its times."""
        going_on = {stream.index for stream in streams}
        with plain_errors(self.path, "has sound that cannot be copied"):
            if going_on and self.begin > 2:
                self.container.seek(int((self.begin - 1) * 1_000_000))
            for packet in self.container.demux(streams) if going_on else ():
                if not packet.size or packet.pts is None:
                    continue
                begin = packet.pts * packet.time_base
                end = begin + (packet.duration or 0) * packet.time_base
                if begin >= self.end:
                    going_on.discard(packet.stream.index)
                    if not going_on:
                        break
                elif (end if self.unheard else begin) >= self.begin:
                    yield from self.tracks[packet.stream.index].moved(packet, self.begin)
            for track in self.tracks.values():
                yield from track.rest()


class _Copied:
    """A stream whose packets are copied."""

    def __init__(self, output: Any, stream: Any):
        self.stream = output.add_stream_from_template(stream)
        self.tick = Fraction(1, stream.codec_context.sample_rate)  # some files' own are a packet long

    def moved(self, packet: Any, begin: Fraction) -> Iterator[Any]:
        packet.duration = round((packet.duration or 0) * packet.time_base / self.tick)
        packet.pts = packet.dts = round((packet.pts * packet.time_base - begin) / self.tick)  # sound is never reordered
        packet.time_base, packet.stream = self.tick, self.stream
        yield packet

    def rest(self) -> Iterator[Any]:
        yield from ()


class _Encoded:
    """A stream that is encoded anew."""

    def __init__(self, output: Any, stream: Any, encoder: str):
        context, rates = stream.codec_context, _RATES[encoder]
        rate = context.sample_rate if context.sample_rate in rates else 48000
        layout = context.layout.name
        if layout.endswith(" channels"):  # the file does not say which
            layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        self.stream = output.add_stream(encoder, rate=rate, layout=layout)

    def moved(self, packet: Any, begin: Fraction) -> Iterator[Any]:
        for frame in packet.decode():
            if frame.pts is not None:
                tick = Fraction(1, frame.sample_rate)
                frame.pts, frame.time_base = round((frame.pts * frame.time_base - begin) / tick), tick
            yield from self.stream.encode(frame)

    def rest(self) -> Iterator[Any]:
        yield from self.stream.encode(None)


def _track(output: Any, stream: Any) -> _Copied | _Encoded:
    encoder = ENCODERS.get(output.format.name)
    if encoder is None or stream.codec_context.codec.name in output.supported_codecs:
        return _Copied(output, stream)
    return _Encoded(output, stream, encoder)
