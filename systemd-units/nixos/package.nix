# The package: what `make install` puts there, below $out.
{ lib, buildGoModule, bash }:

buildGoModule rec {
  pname = "impermanence";
  version = "0-unstable";
  src = lib.cleanSource ../..;

  # Written by make vendor-hash.
  vendorHash = "sha256-UCykRG2PVI6m/A9hJ6Pw03+OBYvXy79nxiSk8phktsA=";

  makeFlags = [ "SHELL=${bash}/bin/bash" "VERSION=${version}" "PREFIX=$(out)" ];
  buildPhase = "runHook preBuild; make $makeFlags build; runHook postBuild";
  installPhase = "runHook preInstall; make $makeFlags install; runHook postInstall";
  doCheck = false; # the tests mount file systems, as root

  meta = {
    description = "A root file system that is fresh at every boot; only what was opted in persists";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
    mainProgram = "impermanence";
  };
}
