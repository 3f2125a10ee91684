# The service image: one for the Prefect server, every Ray node and the command line, so that their versions agree.
#   docker build -t patchpack .
#   docker run --rm patchpack --help
FROM python:3.11-slim

ENV PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    RAY_USAGE_STATS_ENABLED=0

# The folders that become volumes, made here, belong to the user who writes them.
RUN useradd --create-home --uid 1000 patchpack \
    && install --directory --owner=patchpack /app/data /app/build /home/patchpack/.prefect /home/patchpack/.ray

WORKDIR /app
COPY pyproject.toml constraints.txt LICENSE ./
COPY patchpack patchpack
# The platform's default torch wheel; for the smaller CPU build name its index: --build-arg PIP_EXTRA_INDEX_URL=…
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir -c constraints.txt -e '.[service,examples]'

COPY schemas schemas
COPY workers workers
COPY pipelines pipelines
COPY flows flows
COPY examples examples
COPY recipes recipes

USER patchpack
ENTRYPOINT ["python", "-m", "flows"]
CMD ["--help"]
