# Evaluates our module with a machine's configuration, and gives what it makes of it. What it defines of NixOS has stubs for options.
{ configuration }:

let
  lib = import ./lib.nix;
  inherit (lib) mkOption types;
  stub = default: mkOption { type = types.anything; inherit default; };
  pkgs = {
    callPackage = _: _: { name = "impermanence"; outPath = "/nix/store/impermanence"; };
    util-linux = "/nix/store/util-linux";
  };
  # nixos/lib/utils.nix: some are mounted early whatever is said of them.
  utils.fsNeededForBoot = fs: fs.neededForBoot || builtins.elem fs.mountPoint [ "/" "/nix" "/var" ];
  evaluated = lib.evalModules {
    specialArgs = { inherit lib pkgs utils; };
    modules = [
      ../../systemd-units/nixos
      {
        options = {
          assertions = stub [ ];
          environment.etc = stub { };
          environment.loginShellInit = stub "";
          environment.systemPackages = stub [ ];
          systemd = stub { };
          services.dbus = stub { };
          security = stub { };
          boot.initrd.supportedFilesystems = stub [ ];
          boot.initrd.systemd = stub { enable = false; };
          fileSystems = mkOption {
            default = { };
            type = types.attrsOf (types.submodule ({ name, ... }: {
              options = {
                mountPoint = mkOption { type = types.str; default = name; };
                device = mkOption { type = types.str; };
                fsType = mkOption { type = types.str; default = "auto"; };
                options = mkOption { type = types.listOf types.str; default = [ "defaults" ]; };
                neededForBoot = mkOption { type = types.bool; default = false; };
              };
            }));
          };
        };
      }
      configuration
    ];
  };
  inherit (evaluated) config;
in
{
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
  etc = builtins.mapAttrs (_: file: file.text or file.source) config.environment.etc;
  atLogin = config.environment.loginShellInit;
  inherit (config) systemd;
  initrd = config.boot.initrd.systemd;
}
