# The artifact in a container, without a GPU:
#   docker build --tag sega-net .
#   docker run --volume "$PWD/results:/home/sega/artifact/results" sega-net make run RUN=mine
#   docker run --rm sega-net make test
#
# python:3.11-slim-bookworm (Python 3.11.16) by its digest for all platforms, as docker-library/repo-info lists it
# (repos/python/remote/3.11-slim-bookworm.md at bc9bbb47fc70). For a newer one:
#   docker buildx imagetools inspect python:3.11-slim-bookworm
FROM python:3.11-slim-bookworm@sha256:fe556eaffd0d96abd8685b83bb8a69addd0dc730fa193669a7df0d49ddcfac02 AS system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 --shell /bin/bash sega \
    && install --directory --owner=sega --group=sega /home/sega/artifact
USER sega

FROM system AS artifact
WORKDIR /home/sega/artifact
COPY --chown=sega:sega . .
RUN make install
CMD ["make", "run"]
