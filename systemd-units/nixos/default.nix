# NixOS module: the daemon, its timer and bus name, early boot in the systemd initrd, and the configuration, which the initrd carries too.
{ config, lib, pkgs, utils, ... }:

let
  cfg = config.services.impermanence;
  program = "${cfg.package}/lib/impermanence/impermanence-initrd";
  presets = "${cfg.package}/lib/impermanence/presets";

  # What was not given is not written, and so means what impermanence.toml(5) says.
  given = value:
    if builtins.isAttrs value then
      lib.filterAttrs (_: v: v != null && v != { } && v != [ ])
        (lib.mapAttrs (_: given) (builtins.removeAttrs value [ "_module" "enableDebugging" "enableWarnings" ]))
    else if builtins.isList value then map given value
    else value;

  configuration = builtins.toJSON (given {
    inherit (cfg) ephemeral retention;
    persistence = config.environment.persistence;
  });

  volumes = lib.mapAttrsToList (name: volume: if volume.persistentStoragePath == null then name else volume.persistentStoragePath)
    (lib.filterAttrs (_: volume: volume.enable) config.environment.persistence);

  # The file system that a volume is on: one of its own, or that of a directory around it, such as /nix for /nix/persist.
  mountOf = path: if path == "/" || config.fileSystems ? ${path} then path else mountOf (dirOf path);

  # What a volume can't be on.
  emptied = mount: cfg.ephemeral ? ${mount} || mount == "/" && (config.fileSystems."/".fsType or "") == "tmpfs";

  checkVolume = path:
    let mount = mountOf path; in
    if mount == "/" || emptied mount then {
      assertion = !emptied mount;
      message = "environment.persistence.\"${path}\": it is on ${if mount == "/" then "the root" else mount}, which each boot empties: mount a file system there, by fileSystems.";
    } else {
      assertion = utils.fsNeededForBoot config.fileSystems.${mount};
      message = "environment.persistence.\"${path}\": set fileSystems.\"${mount}\".neededForBoot, so that entries are in place before the switch to the root.";
    };

  # What is no loss: the vendor's rules, and each file that activation puts below /etc at every boot, by its own name, as what
  # programs leave beside it is one.
  ignored = builtins.readFile ../ignore + builtins.concatStringsSep "" (lib.mapAttrsToList
    (name: file: "/etc/" + builtins.replaceStrings [ "\\" "*" "?" "[" ] [ "\\\\" "\\*" "\\?" "\\[" ] (file.target or name) + "\n")
    config.environment.etc);

  # As the units that `make install` puts there say, with their reasons: initrd/*.service.
  early = {
    unitConfig = {
      DefaultDependencies = false;
      ConditionPathExists = "/etc/initrd-release";
    };
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      TimeoutStartSec = "60s";
      StandardOutput = "journal+console";
    };
  };
in
{
  imports = [ ./options.nix ];

  config = lib.mkIf cfg.enable {
    assertions = [{
      assertion = config.boot.initrd.systemd.enable;
      message = "services.impermanence needs boot.initrd.systemd.enable: a scripted initrd has no place for it.";
    }] ++ map checkVolume volumes;

    environment.systemPackages = [ cfg.package ];
    environment.etc."impermanence/conf.d/nixos.json".text = configuration;
    environment.etc."impermanence/presets".source = presets;
    environment.etc."impermanence/ignore.nixos".text = ignored;

    # NixOS does not read [Install] of a package's units.
    systemd.packages = [ cfg.package ];
    systemd.services.impermanenced = {
      wantedBy = [ "multi-user.target" ];
      aliases = [ "dbus-org.impermanence1.service" ];
      restartTriggers = [ configuration ];
    };
    systemd.services.impermanence-persist.wantedBy = [ "local-fs.target" ];
    systemd.services.impermanence-copy-back.wantedBy = [ "multi-user.target" ];
    systemd.services.impermanence-copy-last.wantedBy = [ "sysinit.target" ];
    systemd.services.impermanence-login-notice.wantedBy = [ "multi-user.target" ];
    systemd.timers.impermanence-prune.wantedBy = [ "timers.target" ];

    # Of programs without a path systemd finds its own alone here.
    systemd.services.impermanence-top = {
      path = [ pkgs.util-linux ];
      serviceConfig.ExecSearchPath = "${pkgs.util-linux}/bin";
    };

    # NixOS' pam_motd looks at users.motd alone.
    environment.loginShellInit = ''
      if [ -t 1 ] && [ -s /run/motd.d/impermanence.motd ]; then
        cat /run/motd.d/impermanence.motd
      fi
    '';

    systemd.tmpfiles.packages = [ cfg.package ];
    services.dbus.packages = [ cfg.package ];
    security.polkit.enable = lib.mkDefault true;

    boot.initrd.supportedFilesystems = [ "btrfs" ];
    boot.initrd.systemd = {
      enable = lib.mkDefault true;
      storePaths = [ program ];
      contents."/etc/impermanence/conf.d/nixos.json".text = configuration;
      contents."/etc/impermanence/presets".source = presets;

      services.impermanence-rollover = lib.recursiveUpdate early {
        description = "Give the Machine a Fresh Root";
        requires = [ "initrd-root-device.target" ];
        after = [ "initrd-root-device.target" "cryptsetup.target" "systemd-hibernate-resume.service" "local-fs-pre.target" ];
        before = [ "sysroot.mount" "initrd-root-fs.target" ];
        wantedBy = [ "sysroot.mount" ];
        serviceConfig = {
          ExecStart = "${program} rollover --keep-mounted --isolate-emergency";
        };
      };

      services.impermanence-initrd-persist = lib.recursiveUpdate early {
        description = "Put the Entries of the Persistent Volumes in Place Before the Switch";
        after = [ "initrd-root-fs.target" "initrd-fs.target" ];
        before = [ "initrd.target" ];
        wantedBy = [ "initrd.target" ];
        conflicts = [ "emergency.target" ];
        serviceConfig = {
          ExecStart = "${program} persist --keep-going --sysroot=/sysroot";
        };
      };
    };
  };
}
