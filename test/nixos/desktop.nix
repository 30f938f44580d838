# A machine as the README of nix-community/impermanence has it, with what is ours.
{
  fileSystems."/" = { device = "/dev/mapper/encrypted"; fsType = "btrfs"; options = [ "subvol=/root" "compress=zstd" ]; };
  fileSystems."/persistent" = { device = "/dev/mapper/encrypted"; fsType = "btrfs"; options = [ "subvol=persistent" ]; neededForBoot = true; };

  services.impermanence.ephemeral."/" = { };
  services.impermanence.retention = { keepWithin = "30d"; keepLast = 3; keepLabels = [ "works" ]; };

  environment.persistence."/persistent" = {
    enable = true;
    hideMounts = true;
    directories = [
      "/var/log"
      "/var/lib/bluetooth"
      "/var/lib/nixos"
      "/var/lib/systemd/coredump"
      "/etc/NetworkManager/system-connections"
      { directory = "/var/lib/colord"; user = "colord"; group = "colord"; mode = "u=rwx,g=rx,o="; }
    ];
    files = [
      "/etc/machine-id"
      { file = "/var/keys/secret_file"; parentDirectory = { mode = "u=rwx,g=,o="; }; }
      { file = "/etc/adjtime"; method = "copy"; }
    ];
    users.talyz = {
      directories = [
        "Downloads"
        { directory = ".gnupg"; mode = "0700"; }
      ];
      files = [ ".screenrc" ];
    };
  };
  environment.persistence."/off" = { enable = false; directories = [ "/var/off" ]; };
}
