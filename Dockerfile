# The addon: io_uring for the log.
FROM rust:1-slim-bookworm AS addon
COPY --from=node:22-bookworm-slim /usr/local/bin/node /usr/local/bin/node
WORKDIR /build/native-aio
COPY native-aio .
RUN node build.mjs

# The program, compiled, with the packages it runs on.
FROM node:22-bookworm-slim AS program
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm install --no-save
COPY tsconfig.json tsconfig.build.json ./
COPY native-aio/*.d.ts native-aio/
COPY src src
RUN npm run build && npm prune --omit=dev

FROM node:22-bookworm-slim
WORKDIR /opt/dqlited
COPY --from=program /build/package.json ./
COPY --from=program /build/node_modules node_modules
COPY --from=program /build/dist dist
COPY --from=addon /build/native-aio/index.js /build/native-aio/package.json native-aio/
COPY --from=addon /build/native-aio/*.node native-aio/
COPY bin bin
RUN ln -s /opt/dqlited/bin/dqlited /usr/local/bin/dqlited \
 && install -d -o node -g node -m 0700 /var/lib/dqlited

USER node
ENV NODE_ENV=production DQLITED_DATA_DIR=/var/lib/dqlited DQLITED_LISTEN=0.0.0.0:9001
VOLUME /var/lib/dqlited
EXPOSE 9001
# Alive: it answers. Whether the cluster has a leader is not this container's fault.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["dqlited", "status"]
# Set DQLITED_ADDRESS to what clients and the other servers dial.
ENTRYPOINT ["dqlited"]
CMD ["start"]
